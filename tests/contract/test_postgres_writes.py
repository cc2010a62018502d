"""How many rows were ever written to a table, and whether a journal still holds a step."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.resources import Everything, Table

THINGS = Table(DB, "things")
ODD = Table(DB, "100% things", schema="other")


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql("CREATE TABLE things (id int PRIMARY KEY, name text)")
        made.sql("CREATE SCHEMA other")
        made.sql('CREATE TABLE other."100% things" (id int PRIMARY KEY)')
        yield made


def write(room: Room, *statements: str) -> None:
    """Write in a session of its own, which has reported what it counted once this returns."""
    with psycopg.connect(room.conninfo, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())
        conn.execute("SELECT pg_stat_force_next_flush()")
        conn.execute("SELECT 1")


def test_rows_inserted_updated_and_deleted_are_counted_and_reading_is_not(room: Room) -> None:
    before = room.store.writes(THINGS)["things"]
    write(
        room,
        "INSERT INTO things SELECT n, 'a' FROM generate_series(1, 10) n",
        "UPDATE things SET name = 'b' WHERE id <= 4",
        "DELETE FROM things WHERE id = 1",
        "SELECT * FROM things",
    )
    after = room.store.writes(THINGS)["things"]

    assert after.rows - before.rows == 15
    assert after.mark == before.mark


def test_what_this_session_wrote_is_counted_at_once(room: Room) -> None:
    before = room.store.writes(THINGS)["things"].rows
    with room.store.handle() as conn:
        conn.execute("INSERT INTO things VALUES (1, 'a')")
    assert room.store.writes(THINGS)["things"].rows == before + 1


def test_every_table_of_a_database_is_listed_by_slug_and_ours_are_not(room: Room) -> None:
    assert set(room.store.writes(Everything(DB))) == {"things", "other.100% things"}
    assert set(room.store.writes(ODD)) == {"other.100% things"}


def test_a_table_that_is_not_there_has_no_count(room: Room) -> None:
    assert room.store.writes(Table(DB, "nothing")) == {}


@pytest.mark.parametrize(
    "again", ["SELECT pg_stat_reset()", "DROP TABLE things; CREATE TABLE things (id int)"]
)
def test_a_count_that_began_anew_has_another_mark(room: Room, again: str) -> None:
    before = room.store.writes(THINGS)["things"].mark
    write(room, again)
    assert room.store.writes(THINGS)["things"].mark != before


def test_a_reset_of_one_table_is_seen_too(room: Room) -> None:
    before = room.store.writes(THINGS)["things"].mark
    write(room, "SELECT pg_stat_reset_single_table_counters('things'::regclass)")
    assert room.store.writes(THINGS)["things"].mark != before


def test_a_server_that_does_not_count_says_nothing(room: Room) -> None:
    room.sql(
        "ALTER DATABASE " + room.value("SELECT quote_ident(current_database())") + " SET track_counts = off"
    )
    room.store.close()
    try:
        assert room.store.writes(THINGS) == {}
    finally:
        room.sql(
            "ALTER DATABASE " + room.value("SELECT quote_ident(current_database())") + " RESET track_counts"
        )
        room.store.close()


def test_the_journal_holds_a_step_until_it_is_taken_back(room: Room) -> None:
    room.sql("INSERT INTO things SELECT n, 'a' FROM generate_series(1, 10) n")
    assert not room.store.journaled("r1", 1)
    room.update(THINGS, {"name": "'b'"})
    assert room.store.journaled("r1", 1)
    assert not room.store.journaled("r1", 2)
    assert not room.store.journaled("r2", 1)
    room.take_back()
    assert not room.store.journaled("r1", 1)
