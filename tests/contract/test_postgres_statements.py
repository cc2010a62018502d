"""Statements inside and outside transactions: what they affect, who blocks them, what a failure leaves behind."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import psycopg
import pytest
from postgres_tables import ALL, DB, Room, emptied_room, fresh_database, wait_until_blocked

from addresses import Addresses
from lockstep.domain.errors import DataError, Unavailable
from lockstep.domain.resources import Table

THINGS = Table(DB, "things")


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql("CREATE TABLE things (id int PRIMARY KEY, name text)")
        made.sql("INSERT INTO things SELECT n, 'n' || n % 3 FROM generate_series(1, 9) AS n")
        yield made


@contextmanager
def holding(room: Room, statement: str) -> Iterator[int]:
    """Hold the locks of a statement for the length of the block, in a transaction of its own; yield its pid."""
    with psycopg.connect(room.conninfo, application_name="the-app") as conn:
        conn.execute(statement.encode())
        yield conn.info.backend_pid
        conn.rollback()


def execute(room: Room, *statements: str, lock_timeout: float = 5) -> int:
    with room.unit() as unit:
        return unit.execute(statements, lock_timeout=lock_timeout)


def indexes(room: Room) -> dict[str, bool]:
    return dict(
        room.sql(
            "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'things'::regclass"
        )
    )


def test_rows_affected_are_those_written_not_those_read(room: Room) -> None:
    affected = execute(
        room,
        "ALTER TABLE things ADD extra int",
        "UPDATE things SET extra = 1 WHERE name LIKE 'n%' AND id % 2 = 0",
        "SELECT * FROM things",
        "DELETE FROM things WHERE id = 1; INSERT INTO things VALUES (21), (22)",
    )
    assert affected == 4 + 1 + 2


def test_a_statement_that_fails_is_quoted_with_what_postgresql_says(room: Room) -> None:
    with pytest.raises(DataError) as caught:
        execute(room, "UPDATE things SET name = 'x'", "UPDATE things SET nme = '" + "y" * 900 + "'")
    assert "UPDATE things SET nme" in str(caught.value)
    assert 'column "nme"' in str(caught.value)
    assert "campus_test" in str(caught.value)
    assert len(str(caught.value)) < 900
    assert room.value("SELECT count(*) FROM things WHERE name = 'x'") == 0


def test_a_lock_that_is_not_to_be_had_names_who_holds_it(room: Room) -> None:
    with (
        holding(room, "UPDATE things SET name = 'held' WHERE id = 1") as pid,
        pytest.raises(Unavailable) as caught,
    ):
        execute(room, "ALTER TABLE things ADD extra int", lock_timeout=0.6)
    assert f"pid {pid}" in str(caught.value)
    assert "the-app" in str(caught.value)
    assert "UPDATE things SET name = 'held'" in str(caught.value)
    assert "idle in transaction" in str(caught.value)
    assert "ALTER TABLE things ADD extra int" in str(caught.value)
    assert caught.value.transient


def test_a_row_that_is_held_names_who_holds_it(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockstep.stores.postgres.unit.ROW_TIMEOUT", 0.6)

    def read() -> None:
        with room.unit() as unit:
            unit.read_locked(THINGS, columns=None, where=None, within=ALL, after=None, limit=5)

    with (
        holding(room, "DELETE FROM things WHERE id = 2") as pid,
        pytest.raises(Unavailable, match=f"pid {pid}"),
    ):
        read()


def test_the_lock_timeout_ends_with_the_unit(room: Room) -> None:
    execute(room, "SELECT 1", lock_timeout=0.5)
    with room.store.handle() as conn:
        assert conn.execute("SHOW lock_timeout").fetchone() == ("0",)


def test_a_deadlock_is_worth_a_retry(room: Room) -> None:
    fences = [room.claimed(shard=0), room.claimed(shard=1)]
    both_hold_one = Barrier(2)

    def cross(shard: int) -> None:
        """Take one's own row, wait until the other has taken its own, and ask for that."""
        with room.store.unit(fences[shard]) as unit:
            unit.execute([f"UPDATE things SET name = 'd' WHERE id = {1 + shard}"], lock_timeout=30)
            both_hold_one.wait(timeout=30)
            unit.execute([f"UPDATE things SET name = 'd' WHERE id = {2 - shard}"], lock_timeout=30)

    with ThreadPoolExecutor() as pool:
        problems = [future.exception() for future in [pool.submit(cross, shard) for shard in (0, 1)]]
    (problem,) = filter(None, problems)
    assert isinstance(problem, Unavailable)
    assert "deadlock" in str(problem)


def test_an_index_is_built_concurrently_once(room: Room) -> None:
    for _ in range(2):
        room.store.run_outside_transaction(
            "CREATE INDEX CONCURRENTLY By_Name ON things (name)", lock_timeout=5
        )
    assert indexes(room) == {"things_pkey": True, "by_name": True}
    room.store.run_outside_transaction("DROP INDEX CONCURRENTLY by_name", lock_timeout=5)
    assert indexes(room) == {"things_pkey": True}


def test_a_build_that_fails_leaves_no_invalid_index_and_can_be_repeated(room: Room) -> None:
    statement = 'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "Once ""a"" 100%" ON public.things (name)'
    with pytest.raises(DataError, match="could not create unique index"):
        room.store.run_outside_transaction(statement, lock_timeout=5)
    assert indexes(room) == {"things_pkey": True}
    room.sql("UPDATE things SET name = id::text")
    room.store.run_outside_transaction(statement, lock_timeout=5)
    assert room.value("SELECT count(*) FROM pg_indexes WHERE indexname = 'Once \"a\" 100%'") == 1


def test_an_invalid_index_left_by_a_crash_is_built_anew(room: Room) -> None:
    room.sql("CREATE UNIQUE INDEX spare ON things (id, name)")
    with (
        psycopg.connect(room.conninfo, autocommit=True) as conn,
        pytest.raises(psycopg.errors.UniqueViolation),
    ):
        conn.execute("CREATE UNIQUE INDEX CONCURRENTLY once ON things (name)")
    assert indexes(room)["once"] is False
    room.sql("UPDATE things SET name = id::text")
    room.store.run_outside_transaction(
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS once ON things (name)", lock_timeout=5
    )
    assert indexes(room) == {"things_pkey": True, "spare": True, "once": True}


def test_a_build_that_waits_too_long_names_who_holds_it_and_leaves_nothing(room: Room) -> None:
    with holding(room, "UPDATE things SET name = 'held' WHERE id = 1") as pid:
        with pytest.raises(Unavailable, match=f"pid {pid}"):
            room.store.run_outside_transaction(
                "CREATE INDEX CONCURRENTLY by_name ON things (name)", lock_timeout=0.6
            )
        left = indexes(room)
    room.store.run_outside_transaction("CREATE INDEX CONCURRENTLY by_name ON things (name)", lock_timeout=5)
    assert left.get("by_name", False) is False
    assert indexes(room) == {"things_pkey": True, "by_name": True}


def test_an_index_without_a_name_is_refused_with_advice(room: Room) -> None:
    with pytest.raises(DataError, match="Name it"):
        room.store.run_outside_transaction("create index concurrently on things (name)", lock_timeout=5)


def test_an_index_name_that_another_table_has_is_postgresqls_to_refuse(room: Room) -> None:
    room.sql("CREATE TABLE other_things (id int CONSTRAINT taken PRIMARY KEY)")
    with pytest.raises(DataError, match="already exists"):
        room.store.run_outside_transaction("CREATE INDEX CONCURRENTLY taken ON things (name)", lock_timeout=5)
    assert room.value("SELECT indisvalid FROM pg_index WHERE indexrelid = 'taken'::regclass")


def test_what_needs_no_transaction_runs_in_none(room: Room) -> None:
    room.store.run_outside_transaction("VACUUM (ANALYZE) things", lock_timeout=5)
    with pytest.raises(DataError, match="nowhere"):
        room.store.run_outside_transaction("VACUUM nowhere", lock_timeout=5)


def test_a_waiting_statement_goes_on_when_the_lock_is_free(room: Room) -> None:
    with ThreadPoolExecutor() as pool:
        with holding(room, "LOCK TABLE things IN ACCESS EXCLUSIVE MODE"):
            waiting = pool.submit(execute, room, "UPDATE things SET name = 'x'", lock_timeout=30)
            wait_until_blocked(room.conninfo)
        assert waiting.result() == 9
