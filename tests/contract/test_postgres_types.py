"""Values of every type go there and back exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from postgres_tables import ALL, DB, Room, emptied_room, everything, fresh_database

from addresses import Addresses
from lockstep.domain.resources import Table

THINGS = Table(DB, "things")

#: column type → two values of it, as SQL literals, that a clumsy store would confuse or round
TYPES = {
    "smallint": ("1", "2"),
    "bigint": ("9223372036854775807", "-9223372036854775808"),
    "numeric": ("1.0", "1.00"),
    "numeric(30,10)": ("12345678901234567890.1234567891", "0"),
    "double precision": ("0.1", "'-0'"),
    "real": ("0.1", "'NaN'"),
    "money": ("12.34", "-1"),
    "boolean": ("true", "false"),
    "text": ("'a'", "E'tab\\t back\\\\slash \"quote\" percent % {brace} 🎒'"),
    "varchar(5)": ("'abcde'", "''"),
    "character(5)": ("'ab'", "'abcde'"),
    "bytea": ("'\\x00ff'", "'\\x'"),
    "jsonb": ('\'{"a": 1.10, "b": [null, 12345678901234567890.123]}\'', "'null'"),
    "json": ('\'{"b": 1,  "a": 2}\'', '\'{"a": 2, "b": 1}\''),
    "uuid": ("'6ba7b810-9dad-11d1-80b4-00c04fd430c8'", "'6ba7b811-9dad-11d1-80b4-00c04fd430c8'"),
    "date": ("'2024-02-29'", "'4713-01-01 BC'"),
    "time": ("'24:00:00'", "'00:00:00.000001'"),
    "timetz": ("'12:00:00+05:30'", "'12:00:00-08'"),
    "timestamp": ("'infinity'", "'2024-01-01 00:00:00.000001'"),
    "timestamptz": ("'2024-03-31 02:30:00+02'", "'-infinity'"),
    "interval": ("'1 mon'", "'30 days'"),
    "inet": ("'10.0.0.1'", "'10.0.0.0/8'"),
    "macaddr": ("'08:00:2b:01:02:03'", "'08:00:2b:01:02:04'"),
    "bit(3)": ("B'101'", "B'010'"),
    "bit varying": ("B'1'", "B'10101'"),
    "integer[]": ("'{1,NULL,3}'", "'{{1,2},{3,4}}'"),
    "text[]": ("ARRAY['a,b', 'NULL', '\"']", "'{}'"),
    "jsonb[]": ("ARRAY['{\"a\": 1}'::jsonb]", "'{}'"),
    "int4range": ("'[1,5)'", "'empty'"),
    "tstzrange": ("'[2024-01-01,)'", "'(,2024-01-01]'"),
    "point": ("'(1,2)'", "'(1.5,2)'"),
    "tsvector": ("'fat:2 cat:3'", "'rat'"),
    "mood": ("'happy'", "'sad'"),
    "short": ("'abc'", "'ab'"),
    "pair": ("ROW(1, 'x,y')", "ROW(NULL, '')"),
}


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        yield made


@pytest.fixture
def typed(room: Room) -> Room:
    """A table with a column of every type, each with a value, its twin, and null."""
    room.sql("CREATE TYPE mood AS ENUM ('happy', 'sad')")
    room.sql("CREATE DOMAIN short AS varchar(3) CHECK (length(VALUE) > 1)")
    room.sql("CREATE TYPE pair AS (n int, t text)")
    columns = ", ".join(f"c{place} {kind}" for place, kind in enumerate(TYPES))
    room.sql(f"CREATE TABLE things (id int PRIMARY KEY, {columns})")
    for n in (0, 1):
        values = ", ".join(f"({pair[n]})::{kind}" for kind, pair in TYPES.items())
        room.sql(f"INSERT INTO things VALUES ({n}, {values})")
    room.sql("INSERT INTO things (id) VALUES (2)")
    return room


@pytest.mark.usefixtures("way")
def test_every_type_comes_back_exactly_after_an_update_that_emptied_it(typed: Room) -> None:
    before = everything(typed)
    swept = typed.update(THINGS, {f"c{place}": "NULL" for place in range(len(TYPES))}, limit=2)
    assert sum(batch.written for batch in swept) == 2
    assert everything(typed) != before
    taken = typed.take_back()
    assert sum(batch.restored for batch in taken) == 2
    assert everything(typed) == before


def test_every_type_comes_back_exactly_after_its_values_were_swapped(typed: Room) -> None:
    before = everything(typed)
    sets = {
        f"c{place}": f"CASE id WHEN 0 THEN ({two})::{kind} WHEN 1 THEN ({one})::{kind} ELSE ({two})::{kind} END"
        for place, (kind, (one, two)) in enumerate(TYPES.items())
    }
    swept = typed.update(THINGS, sets)
    assert sum(batch.written for batch in swept) == 3
    assert typed.take_back(limit=1)[-1].last
    assert everything(typed) == before


@pytest.mark.usefixtures("way")
def test_values_that_psycopg_reads_are_written_as_read_and_come_back(typed: Room) -> None:
    unreadable = {
        "date",
        "timestamp",
        "timestamptz",
        "time",
        "interval",
        "tstzrange",
    }  # beyond datetime's limits
    before = everything(typed)
    names = [f"c{place}" for place, kind in enumerate(TYPES) if kind not in unreadable]
    rows = {
        row["id"]: row
        for row in typed.store.read(
            THINGS, columns=names, where=None, within=ALL, after=None, limit=10
        ).records
    }

    def swapped(row: dict[str, Any]) -> dict[str, Any]:
        return row if row["id"] == 2 else {**rows[1 - row["id"]], "id": row["id"]}

    typed.transform(THINGS, swapped, columns=names)
    assert everything(typed) != before
    for name in names:
        kind = list(TYPES)[int(name[1:])]
        assert typed.value(f"SELECT array_agg({name}::text ORDER BY id DESC) FROM things WHERE id < 2") == (
            [json_spelt(typed, kind, value) for value in TYPES[kind]]
        ), kind
    typed.take_back()
    assert everything(typed) == before


def json_spelt(room: Room, kind: str, literal: str) -> Any:
    """Return a literal's text form after its way through Python, where JSON loses digits and spacing."""
    lost = {
        TYPES["jsonb"][0]: '{"a": 1.1, "b": [null, 12345678901234567000]}',
        TYPES["jsonb"][1]: None,
        TYPES["json"][0]: '{"b": 1, "a": 2}',
    }
    if literal in lost:
        return lost[literal]
    return room.value(f"SELECT (({literal})::{kind})::text")
