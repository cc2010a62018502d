"""Rows are looked up by key, whatever the key's type, by store and unit alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.resources import Table

THINGS = Table(DB, "things")


@pytest.fixture(scope="module")
def conninfo(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(conninfo: str) -> Iterator[Room]:
    with emptied_room(conninfo) as made:
        yield made


@pytest.mark.parametrize(
    ("key", "literals"),
    [
        ("text", ["'a'", "'b,{}\"'", "''"]),
        ("bigint", ["1", "-5", "9223372036854775807"]),
        ("uuid", ["'6ba7b810-9dad-11d1-80b4-00c04fd430c8'"]),
        ("timestamptz", ["'2024-03-31 02:30:00.000001+02'", "'2024-01-01 00:00:00Z'"]),
        ("numeric", ["1.50", "-0.1"]),
        ("bytea", ["'\\x00ff'", "'\\x'"]),
        ("date", ["'2024-02-29'"]),
    ],
)
def test_every_row_is_found_by_its_own_key(room: Room, key: str, literals: list[str]) -> None:
    room.sql(f"CREATE TABLE things (id {key} PRIMARY KEY, n int)")
    room.sql(f"INSERT INTO things VALUES {', '.join(f'({text}, {n})' for n, text in enumerate(literals))}")
    wanted: list[Any] = [{"id": row[0]} for row in room.sql("SELECT id FROM things ORDER BY n")]
    found = room.store.fetch(THINGS, wanted)
    assert sorted(row["n"] for row in found) == list(range(len(literals)))
    with room.unit() as unit:
        assert unit.keys_of(THINGS) == ("id",)
        assert len(unit.fetch(THINGS, wanted)) == len(literals)


def test_a_composite_key_is_matched_whole_and_absent_rows_are_left_out(room: Room) -> None:
    room.sql("CREATE TABLE things (a int, b text, n int, PRIMARY KEY (a, b))")
    room.sql("INSERT INTO things VALUES (1, 'x', 1), (1, 'y', 2), (2, 'x', 3)")
    found = room.store.fetch(THINGS, [{"a": 1, "b": "y"}, {"a": 2, "b": "y"}, {"a": 2, "b": "x"}])
    assert sorted(row["n"] for row in found) == [2, 3]
    assert room.store.fetch(THINGS, []) == []


def test_a_unit_finds_what_it_has_written_itself(room: Room) -> None:
    room.sql("CREATE TABLE things (id int PRIMARY KEY, n int)")
    with room.unit() as unit:
        unit.upsert_rows(THINGS, [{"id": 1, "n": 7}])
        assert unit.fetch(THINGS, [{"id": 1}]) == [{"id": 1, "n": 7}]
        assert room.store.fetch(THINGS, [{"id": 1}]) == []
