"""Everything through PgBouncer in transaction mode: each transaction may meet another server process."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from postgres_copies import copied
from postgres_tables import ALL, DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.errors import DataError, LockTimeout, StaleEpoch
from lockstep.domain.exchange import Adopted
from lockstep.domain.pacing import Limits
from lockstep.domain.progress import Progress
from lockstep.domain.resources import Table
from lockstep.stores.postgres import PostgresStore
from pooler import PROGRAM, pooled

if PROGRAM is None:
    pytest.skip("this machine has no pgbouncer (Debian's package has it)", allow_module_level=True)

THINGS = Table(DB, "things")


@pytest.fixture(scope="module")
def through(servers: Addresses) -> Iterator[Addresses]:
    """The tests' PostgreSQL by way of a pooler."""
    with tempfile.TemporaryDirectory(prefix="lockstep-pooler-") as root:
        Path(root).chmod(0o755)
        with pooled(servers.postgres, Path(root)) as conninfo:
            yield replace(servers, postgres=conninfo)


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str, through: Addresses, servers: Addresses) -> Iterator[Room]:
    """A room whose store goes through the pooler; what the test itself asks goes to the server."""
    with emptied_room(database, servers.pg_bin) as direct:
        direct.sql("CREATE TABLE things (id int PRIMARY KEY, name text)")
        direct.sql("INSERT INTO things SELECT n, 'n' || n % 3 FROM generate_series(1, 9) AS n")
        name = direct.value("SELECT current_database()")
        store = PostgresStore(DB, through.postgres_uri(name), pg_bin=servers.pg_bin)
        try:
            yield Room(store=store, conninfo=database, pg_bin=servers.pg_bin)
        finally:
            store.close()


@contextmanager
def holding(room: Room, statement: str) -> Iterator[int]:
    with psycopg.connect(room.conninfo, application_name="the-app") as conn:
        conn.execute(statement.encode())
        yield conn.info.backend_pid
        conn.rollback()


@pytest.fixture
def shuffled(room: Room) -> Iterator[None]:
    """Other clients of the pooler, which keep it from giving us the same server process again."""
    done = threading.Event()
    conninfo = room.store._connector._conninfo

    def bother() -> None:
        with psycopg.connect(conninfo, autocommit=True, prepare_threshold=None) as conn:
            while not done.is_set():
                conn.execute("SELECT pg_sleep(random() * 0.005)")

    threads = [threading.Thread(target=bother) for _ in range(3)]
    for thread in threads:
        thread.start()
    yield
    done.set()
    for thread in threads:
        thread.join()


def test_it_is_a_pooler_in_transaction_mode(room: Room, shuffled: None) -> None:
    conn = room.store._connector.open()
    conn.autocommit = True
    with conn:
        seen = {conn.execute("SELECT pg_backend_pid()").fetchone() for _ in range(200)}
        assert len(seen) > 1
        assert (conn.info.backend_pid,) not in seen


@pytest.mark.usefixtures("shuffled")
def test_batches_commit_once_with_their_checkpoints_and_are_taken_back(room: Room) -> None:
    before = room.sql("SELECT * FROM things ORDER BY id")
    assert sum(swept.written for swept in room.update(THINGS, {"name": "name || 'x'"}, limit=2)) == 9
    assert room.value("SELECT count(*) FROM things WHERE name LIKE '%x'") == 9
    room.transform(THINGS, lambda row: {**row, "name": row["name"] + "y"})
    assert room.value("SELECT count(*) FROM things WHERE name LIKE '%xy'") == 9
    room.take_back()
    assert room.sql("SELECT * FROM things ORDER BY id") == before
    assert room.store.fingerprint(THINGS) == room.store.fingerprint(THINGS)


@pytest.mark.usefixtures("shuffled")
def test_a_stale_epoch_writes_nothing(room: Room) -> None:
    old, new = room.claimed(), room.claimed()
    with pytest.raises(StaleEpoch), room.store.unit(old) as unit:
        unit.execute(["UPDATE things SET name = 'stale'"], lock_timeout=5)
    with room.store.unit(new) as unit:
        unit.execute(["UPDATE things SET name = 'fresh'"], lock_timeout=5)
        unit.advance(Progress(done=True))
    assert room.sql("SELECT DISTINCT name FROM things") == [("fresh",)]
    assert room.store.progress("r1", "upgrade")[(1, 0)].done
    room.store.fence_off("r1", new.epoch + 1)
    with pytest.raises(StaleEpoch), room.store.unit(new):
        pass


@pytest.mark.usefixtures("shuffled")
def test_a_lock_that_is_not_to_be_had_names_who_holds_it(room: Room) -> None:
    with (
        holding(room, "UPDATE things SET name = 'held'") as pid,
        pytest.raises(LockTimeout, match=f"pid {pid}"),
        room.unit() as unit,
    ):
        unit.execute(["ALTER TABLE things ADD extra int"], lock_timeout=0.9)


@pytest.mark.usefixtures("shuffled")
def test_a_lone_statement_gives_way_though_the_session_is_not_its_own(room: Room) -> None:
    began = time.monotonic()
    with holding(room, "UPDATE things SET name = 'held'") as pid, pytest.raises(LockTimeout) as caught:
        room.store.run_outside_transaction("ALTER TABLE things ADD extra int", lock_timeout=1.0)
    assert time.monotonic() - began < 20
    assert f"pid {pid}" in str(caught.value)
    assert "the-app" in str(caught.value)
    assert "waited 1 s for a lock" in str(caught.value)
    running = "SELECT query FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()"
    assert not [query for (query,) in room.sql(running) if "ADD extra" in query]
    room.store.run_outside_transaction("ALTER TABLE things ADD extra int", lock_timeout=1.0)


@pytest.mark.usefixtures("shuffled")
def test_an_index_is_built_concurrently_or_leaves_nothing(room: Room) -> None:
    statement = "CREATE INDEX CONCURRENTLY by_name ON things (name)"
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('by_name')"
    with psycopg.connect(room.conninfo) as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT 1")
        with pytest.raises(LockTimeout):
            room.store.run_outside_transaction(statement, lock_timeout=1.0)
        assert room.sql(valid) == []
    room.store.run_outside_transaction(statement, lock_timeout=30)
    assert room.sql(valid) == [(True,)]
    with pytest.raises(DataError, match="could not create unique index"):
        room.store.run_outside_transaction(
            "CREATE UNIQUE INDEX CONCURRENTLY u ON things (name)", lock_timeout=30
        )
    assert room.sql("SELECT to_regclass('u')") == [(None,)]


@pytest.mark.usefixtures("shuffled")
def test_no_setting_of_ours_stays_in_a_session_of_the_pooler(room: Room) -> None:
    room.store.run_outside_transaction("CREATE INDEX CONCURRENTLY by_name ON things (name)", lock_timeout=30)
    room.update(THINGS, {"name": "upper(name)"}, limit=2)
    room.store.vacuum(THINGS)
    for part in room.store.backup([THINGS]):
        assert sum(map(len, part.chunks())) > 0
    settings = ("lock_timeout", "search_path", "row_security", "TimeZone", "statement_timeout")
    conn = room.store._connector.open()
    conn.autocommit = True
    with conn, psycopg.connect(room.conninfo) as direct:
        for name in settings:
            usual = direct.execute("SELECT current_setting(%s)", [name]).fetchone()
            found = {conn.execute("SELECT current_setting(%s)", [name]).fetchone() for _ in range(100)}
            assert found == {usual}, name


@pytest.mark.usefixtures("shuffled")
def test_a_table_is_restored_past_the_pooler_and_nothing_of_it_stays_there(room: Room) -> None:
    before = room.store.fingerprint(THINGS)
    with copied(room) as copy:
        room.sql("UPDATE things SET name = 'x' WHERE id < 4")
        assert room.store.adopt(copy, [THINGS]) == Adopted(written=3)
        room.sql("ALTER TABLE things ADD extra int DEFAULT 1")
        assert room.store.adopt(copy, [THINGS]) == Adopted(written=9, reshaped=("things",))
    assert room.store.fingerprint(THINGS) == before
    assert room.store.parked() == []
    conn = room.store._connector.open()
    conn.autocommit = True
    settings = ("search_path", "default_table_access_method", "check_function_bodies", "statement_timeout")
    with conn, psycopg.connect(room.conninfo) as direct:
        for name in settings:
            usual = direct.execute("SELECT current_setting(%s)", [name]).fetchone()
            assert {conn.execute("SELECT current_setting(%s)", [name]).fetchone() for _ in range(100)} == {
                usual
            }


@pytest.mark.usefixtures("shuffled")
def test_signals_are_read_and_a_table_is_vacuumed(room: Room) -> None:
    limits = replace(Limits(), connections=0.99)
    assert {reading.verdict for reading in room.store.pressure(limits)} == {"go"}
    room.sql("DELETE FROM things WHERE id < 5")
    assert room.store.vacuum(THINGS)
    with holding(room, "LOCK TABLE things IN SHARE MODE"):
        assert not room.store.vacuum(THINGS)


@pytest.mark.usefixtures("shuffled")
def test_many_workers_of_many_shards_go_through_few_connections(room: Room) -> None:
    room.sql("INSERT INTO things SELECT n, 'n' FROM generate_series(100, 299) AS n")
    fences = [room.claimed(shard=shard) for shard in range(8)]

    def work(shard: int) -> int:
        done = 0
        store = PostgresStore(DB, room.store._connector._conninfo)
        try:
            for step in range(10):
                with store.unit(fences[shard]) as unit:
                    key = 100 + 20 * shard + step
                    done += unit.execute(
                        [f"UPDATE things SET name = name || '!' WHERE id = {key}"], lock_timeout=30
                    )
                    unit.advance(Progress(batches=step + 1))
        finally:
            store.close()
        return done

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [10] * 8
    assert room.value("SELECT count(*) FROM things WHERE name = 'n!'") == 80
    assert {progress.batches for progress in room.store.progress("r1", "upgrade").values()} == {10}
    assert room.store.read(THINGS, columns=None, where=None, within=ALL, after=None, limit=500).last
