"""What is parked is told with its size and age, and removed for good when nobody wants it back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import psycopg
import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.errors import DataError, LockTimeout, Refused
from lockstep.domain.parked import Parked
from lockstep.domain.resources import Table
from lockstep.stores.postgres import PostgresStore

USERS = Table(DB, "users")
ODD = Table(DB, 'odd "name" %s', schema="other")

MAKE = """
CREATE SCHEMA other;
CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL DEFAULT 'x', "nick ""%s" text UNIQUE);
CREATE TABLE other."odd ""name"" %s" (id serial PRIMARY KEY, value int);
INSERT INTO users (name, "nick ""%s") SELECT 'n' || n, nullif(n % 2, 0) * n FROM generate_series(1, 100) AS n;
INSERT INTO other."odd ""name"" %s" (value) SELECT n FROM generate_series(1, 50) AS n;
ANALYZE;
"""


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql(MAKE)
        yield made


def parked(room: Room) -> dict[str, Parked]:
    return {one.resource: one for one in room.store.parked()}


def test_nothing_is_parked_in_a_database_that_lockstep_never_saw(servers: Addresses) -> None:
    with fresh_database(servers) as conninfo:
        store = PostgresStore(DB, conninfo)
        assert store.parked() == []
        with store.handle() as conn:
            assert conn.execute("SELECT to_regnamespace('lockstep_state')").fetchone() == (None,)
        store.close()


def test_tables_and_columns_are_told_with_whose_they_were(room: Room) -> None:
    before = datetime.now(timezone.utc) - timedelta(minutes=1)
    with room.unit("r1") as unit:
        unit.park_column(USERS, "name")
        unit.park_column(USERS, 'nick "%s')
    with room.unit("r2", 2) as unit:
        unit.park_table(ODD)
    found = parked(room)
    assert set(found) == {"users.name", 'users.nick "%s', 'other.odd "name" %s'}
    table, column, nick = found['other.odd "name" %s'], found["users.name"], found['users.nick "%s']
    assert (table.kind, table.run_id, table.records, table.conn_id) == ("table", "r2", 50, DB.conn_id)
    assert table.bytes == room.value(
        "SELECT pg_total_relation_size(oid) FROM pg_class "
        "WHERE relnamespace = 'lockstep_parked'::regnamespace AND relkind = 'r'"
    )
    assert (column.kind, column.run_id, column.records) == ("column", "r1", 100)
    assert (nick.kind, nick.run_id, nick.records) == ("column", "r1", 50)
    assert column.bytes is not None
    assert nick.bytes is not None
    assert 100 <= nick.bytes < column.bytes <= 500
    assert all(one.parked_at > before and one.gone_at is None for one in found.values())
    room.take_back("r2", 2)
    assert set(parked(room)) == {"users.name", 'users.nick "%s'}


def test_the_newest_of_what_has_one_name_is_told_as_its_own(room: Room) -> None:
    for run in ("r1", "r2"):
        with room.unit(run) as unit:
            unit.park_column(USERS, "name")
        room.sql("ALTER TABLE users ADD name text")
    found = sorted((one.run_id, one.resource) for one in room.store.parked())
    assert found == [("r1", "users.name"), ("r2", "users.name")]


def test_a_table_that_was_written_anew_leaves_the_old_one_parked(room: Room) -> None:
    with room.unit() as unit:
        unit.rewrite_table(USERS, {"name": "upper(name)"})
    (one,) = room.store.parked()
    assert (one.kind, one.resource, one.records) == ("table", "users", 100)


def test_what_is_removed_is_gone_with_all_that_it_held(room: Room) -> None:
    with room.unit() as unit:
        unit.park_column(USERS, 'nick "%s')
        unit.park_table(ODD)
    things = room.store.parked()
    assert len(things) == 2
    for thing in [*things, *things]:
        room.store.remove_parked(thing)
    assert room.store.parked() == []
    assert (
        room.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'lockstep_parked'::regnamespace") == 0
    )
    assert (
        room.sql(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname LIKE '\\_lock%'"
        )
        == []
    )
    assert room.value("SELECT count(*) FROM users") == 100
    with pytest.raises(DataError, match=r"is gone\. Restore the table"):
        room.take_back()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("table", "public.users"),
        ("table", "lockstep_state.journal"),
        ("column", "public.users.name"),
        ("collection", "lockstep_parked.users"),
        ("table", "lockstep_parked_not.users"),
    ],
)
def test_names_that_are_not_reserved_are_refused(room: Room, kind: str, name: str) -> None:
    thing = Parked(
        conn_id=DB.conn_id,
        kind=kind,  # type: ignore[arg-type]
        resource="users",
        parked_as=name,
        parked_at=datetime.now(timezone.utc),
    )
    with pytest.raises(Refused, match=r"is no parked.*Nothing was removed"):
        room.store.remove_parked(thing)
    assert room.value("SELECT count(*) FROM users") == 100


def test_a_name_is_never_run_as_sql(room: Room) -> None:
    with room.unit() as unit:
        unit.park_table(ODD)
    (thing,) = room.store.parked()
    for name in (f"{thing.parked_as}, public.users", f"{thing.parked_as}; DROP TABLE users"):
        room.store.remove_parked(replace(thing, parked_as=name))
    assert room.store.exists(USERS)
    assert room.store.parked() == [thing]


def test_what_something_hangs_on_stays_and_is_said(room: Room) -> None:
    room.sql("CREATE VIEW named AS SELECT name FROM users")
    room.sql('CREATE VIEW odds AS SELECT * FROM other."odd ""name"" %s"')
    with room.unit() as unit:
        unit.park_column(USERS, "name")
        unit.park_table(ODD)
    for thing in room.store.parked():
        with pytest.raises(Refused, match=r"stays: .*view (public\.)?(named|odds)"):
            room.store.remove_parked(thing)
    assert len(room.store.parked()) == 2


def test_what_is_in_use_is_left_for_later(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lockstep.stores.postgres.parked.LOCK_TIMEOUT", 0.2)
    with room.unit() as unit:
        unit.park_column(USERS, "name")
    (thing,) = room.store.parked()
    with psycopg.connect(room.conninfo, application_name="the-app") as other:
        other.execute("SELECT 1 FROM users LIMIT 1")
        with pytest.raises(LockTimeout, match="the-app"):
            room.store.remove_parked(thing)
        other.rollback()
    room.store.remove_parked(thing)
    assert room.store.parked() == []


def test_what_nobody_filed_is_told_as_new(room: Room) -> None:
    with room.unit() as unit:
        unit.park_table(ODD)
    room.sql("TRUNCATE lockstep_state.journal")
    (one,) = room.store.parked()
    assert one.run_id is None
    assert one.resource.endswith('__odd "name" %s')
    assert datetime.now(timezone.utc) - one.parked_at < timedelta(minutes=1)
    room.store.remove_parked(one)
    assert room.store.parked() == []
