"""Vacuum: where the table is free and the role may, and never a long wait."""

from __future__ import annotations

import time
from collections.abc import Iterator

import psycopg
import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database
from psycopg.conninfo import make_conninfo

from addresses import Addresses
from lockstep.domain.errors import DataError
from lockstep.domain.resources import Table
from lockstep.stores.postgres import PostgresStore

THINGS = Table(DB, "100% things", schema="other")


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql("CREATE SCHEMA other")
        made.sql(
            'CREATE TABLE other."100% things" (id int PRIMARY KEY, name text) WITH (autovacuum_enabled = off)'
        )
        made.sql(
            "INSERT INTO other.\"100% things\" SELECT n, repeat('x', 500) FROM generate_series(1, 2000) AS n"
        )
        yield made


def size(room: Room) -> int:
    return int(room.value("SELECT pg_relation_size('other.\"100% things\"')"))


def test_the_room_of_dead_rows_is_used_again(room: Room) -> None:
    first = size(room)
    for _ in range(5):
        room.sql("UPDATE other.\"100% things\" SET name = repeat('y', 500)")
        assert room.store.vacuum(THINGS)
    assert size(room) < 2.5 * first
    room.sql('DELETE FROM other."100% things"')
    before = size(room)
    assert room.store.vacuum(THINGS)
    # Cutting off its end would take the table for itself.
    assert size(room) == before


def test_a_table_that_somebody_has_is_passed_by_at_once(room: Room) -> None:
    with psycopg.connect(room.conninfo) as conn:
        conn.execute('LOCK TABLE other."100% things" IN SHARE UPDATE EXCLUSIVE MODE')
        began = time.monotonic()
        assert not room.store.vacuum(THINGS)
        assert time.monotonic() - began < 10
        conn.rollback()
    assert room.store.vacuum(THINGS)


def test_a_role_that_may_not_vacuum_passes_it_by(room: Room) -> None:
    name = room.value("SELECT 'reader_of_' || current_database()")
    room.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    store = PostgresStore(DB, make_conninfo(room.conninfo, user=name, password="secret"))
    try:
        room.sql(f"GRANT USAGE ON SCHEMA other TO {name}")
        assert not store.vacuum(THINGS)
    finally:
        store.close()
        room.sql(f"REVOKE USAGE ON SCHEMA other FROM {name}")
        room.sql(f"DROP ROLE {name}")


def test_a_table_that_is_not_there_is_an_error_that_names_it(room: Room) -> None:
    with pytest.raises(DataError, match="nowhere"):
        room.store.vacuum(Table(DB, "nowhere"))
