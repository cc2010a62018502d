"""Connections: what is said when there is none, and that a password is never part of it."""

from __future__ import annotations

import gc
import pickle
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import psycopg
import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from addresses import Addresses
from lockstep.domain.errors import LockstepError, Refused, Unavailable
from lockstep.domain.progress import Fence, Progress
from lockstep.domain.resources import Table
from lockstep.embedded.process import free_port
from lockstep.stores.postgres import PostgresStore

SECRET = "S3cret-%-word"


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        yield made


def refusal(conninfo: str) -> LockstepError:
    """Return what a store over a bad connection raises, having looked for the password everywhere in it."""
    with pytest.raises(LockstepError) as caught:
        PostgresStore(DB, conninfo).check()
    problem = caught.value
    told = "".join(traceback.format_exception(problem)) + repr(problem) + repr(problem.fields)
    assert SECRET not in told
    assert "campus_test" in str(problem)
    assert str(pickle.loads(pickle.dumps(problem))) == str(problem)
    return problem


def test_a_server_that_is_down_is_worth_a_retry(servers: Addresses) -> None:
    port = free_port()
    problem = refusal(make_conninfo(servers.postgres, port=port, password=SECRET))
    assert isinstance(problem, Unavailable)
    assert f":{port}" in str(problem)


@pytest.mark.parametrize(
    "changed", [{"password": SECRET}, {"dbname": "no_such_database"}, {"user": "nobody", "password": SECRET}]
)
def test_a_wrong_connection_is_not_worth_a_retry(servers: Addresses, changed: dict[str, str]) -> None:
    problem = refusal(make_conninfo(servers.postgres, **changed))
    assert isinstance(problem, Refused)
    assert "Mend the Airflow connection 'campus_test'" in str(problem)


def test_a_connection_string_that_makes_no_sense_is_not_quoted() -> None:
    problem = refusal(f"postgresql://user:{SECRET}@host:port:port/db?sslmode==")
    assert isinstance(problem, Refused)
    problem = refusal(f"host=localhost password='{SECRET}")
    assert isinstance(problem, Refused)


def test_a_store_does_not_show_its_password(room: Room) -> None:
    password = conninfo_to_dict(room.conninfo).get("password")
    store = PostgresStore(DB, make_conninfo(room.conninfo, password=password or SECRET))
    assert str(password or SECRET) not in repr(store) + repr(store._connector) + str(store)


def test_check_says_what_is_there_and_may_be_asked_again(room: Room) -> None:
    facts = room.store.check()
    assert facts == room.store.check()
    assert facts["database"] == conninfo_to_dict(room.conninfo)["dbname"]
    assert facts["version"] == room.value("SHOW server_version")
    assert facts["schema"] == "2"


def test_many_may_make_lockstep_s_schema_at_once(room: Room) -> None:
    room.sql("DROP SCHEMA lockstep_state, lockstep_parked CASCADE")

    def check() -> str:
        store = PostgresStore(DB, room.conninfo)
        try:
            return store.check()["schema"]
        finally:
            store.close()

    with ThreadPoolExecutor(8) as pool:
        assert [future.result() for future in [pool.submit(check) for _ in range(8)]] == ["2"] * 8
    assert room.sql("SELECT version FROM lockstep_state.schema_version ORDER BY 1") == [(1,), (2,)]


def test_an_older_schema_is_brought_up_to_date_and_keeps_what_it_holds(room: Room) -> None:
    room.sql("DROP SCHEMA lockstep_state, lockstep_parked CASCADE")
    first = files("lockstep.stores.postgres") / "schema_1.sql"
    room.sql(first.read_text(encoding="utf-8"))
    room.sql(
        "INSERT INTO lockstep_state.checkpoints (run_id, phase, step, shard, epoch, read) "
        "VALUES ('r1', 'upgrade', 1, 0, 1, 7)"
    )
    fence = Fence(run_id="r1", phase="upgrade", step=1, shard=0, epoch=2)
    store = PostgresStore(DB, room.conninfo)
    try:
        assert store.claim(fence) == Progress(read=7)
        with store.unit(fence) as unit:
            unit.advance(Progress(read=9, quarantined=1))
        assert store.progress("r1", "upgrade") == {(1, 0): Progress(read=9, quarantined=1)}
        assert store.check()["schema"] == "2"
    finally:
        store.close()


def test_bringing_the_schema_up_to_date_gives_way_to_who_works_with_it(room: Room) -> None:
    room.sql("DROP SCHEMA lockstep_state, lockstep_parked CASCADE")
    first = files("lockstep.stores.postgres") / "schema_1.sql"
    room.sql(first.read_text(encoding="utf-8"))
    with psycopg.connect(room.conninfo) as conn:
        conn.execute("LOCK TABLE lockstep_state.checkpoints IN ROW EXCLUSIVE MODE")
        with pytest.raises(Unavailable):
            room.store.check()
        assert room.value("SELECT max(version) FROM lockstep_state.schema_version") == 1
    assert room.store.check()["schema"] == "2"


def test_a_schema_from_the_future_is_refused(room: Room) -> None:
    room.sql("INSERT INTO lockstep_state.schema_version VALUES (99)")
    with pytest.raises(Refused, match="version 99"):
        room.store.check()


def test_a_role_that_may_not_make_a_schema_is_told_what_to_grant(room: Room, servers: Addresses) -> None:
    room.sql("DROP SCHEMA lockstep_state, lockstep_parked CASCADE")
    name = room.value("SELECT 'guest_of_' || current_database()")
    room.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'")
    try:
        problem = refusal(make_conninfo(room.conninfo, user=name, password=SECRET))
        assert isinstance(problem, Refused)
        assert "Grant it" in str(problem)
    finally:
        room.sql(f"DROP ROLE {name}")


def test_a_connection_that_died_in_the_meantime_is_replaced(room: Room) -> None:
    assert room.store.tables() == ()
    room.sql(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
        "WHERE application_name = 'lockstep' AND datname = current_database()"
    )
    assert room.store.tables() == ()


def test_a_connection_that_dies_in_a_unit_is_worth_a_retry_and_leaves_nothing(room: Room) -> None:
    room.sql("CREATE TABLE things (id int PRIMARY KEY)")

    def cut_off() -> None:
        with room.unit() as unit:
            unit.execute(["INSERT INTO things VALUES (1)"], lock_timeout=5)
            room.sql("SELECT pg_terminate_backend(%s, 10000)", [unit.handle.info.backend_pid])
            unit.execute(["INSERT INTO things VALUES (2)"], lock_timeout=5)

    with pytest.raises(Unavailable):
        cut_off()
    assert room.store.count(Table(DB, "things")) == 0


def test_one_connection_serves_call_after_call(room: Room) -> None:
    for _ in range(3):
        room.store.tables()
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lockstep' AND datname = %s"
    name = conninfo_to_dict(room.conninfo)["dbname"]
    assert room.value(sessions, [name]) == 1
    room.store.close()
    assert room.store.tables() == ()


def test_a_store_that_is_forgotten_closes_its_connection(room: Room) -> None:
    def use() -> int:
        store = PostgresStore(DB, room.conninfo)
        with store.handle() as conn:
            return int(conn.info.backend_pid)

    pid = use()
    gc.collect()
    gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
    with psycopg.connect(room.conninfo, autocommit=True) as conn:
        while conn.execute(gone, [pid]).fetchone() != (0,):
            pass


def test_tables_are_listed_without_lockstep_s_own(room: Room) -> None:
    room.sql(
        "CREATE SCHEMA other; CREATE TABLE other.a (id int); CREATE TABLE b (id int); CREATE VIEW c AS SELECT 1"
    )
    room.sql("CREATE TABLE lockstep_parked.parked (id int)")
    assert [table.slug for table in room.store.tables()] == ["other.a", "b"]
    assert room.store.exists(Table(DB, "a", schema="other"))
    assert not room.store.exists(Table(DB, "a"))


def test_a_table_made_by_a_role_named_lockstep_is_not_taken_for_lockstep_s_own(room: Room) -> None:
    room.sql("CREATE TABLE mine (id int PRIMARY KEY)")
    assert room.store.exists(Table(DB, "mine"))
