"""What is parked comes back with all that hung on it: constraints, indexes, defaults, comments, statistics and grants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from heavy_table import BESIDES, USERS, database_with_roles, dumped, heavy_room, unlike
from postgres_tables import Room

from addresses import Addresses

MORE = """
ALTER TABLE users ADD CONSTRAINT tagged NOT NULL tags NO INHERIT;
COMMENT ON CONSTRAINT tagged ON users IS 'it''s 100% tagged';
ALTER TABLE users ADD CONSTRAINT profiled NOT NULL profile NOT VALID;
ALTER TABLE users ALTER title SET STORAGE EXTERNAL, ALTER title SET (n_distinct = 5), ALTER title SET STATISTICS 33;
COMMENT ON COLUMN users.title IS 'titled';
GRANT SELECT (title), UPDATE (tags) ON users TO lockstep_writer;
"""


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with database_with_roles(servers) as made:
        yield made


@pytest.fixture
def room(database: str, servers: Addresses) -> Iterator[Room]:
    with heavy_room(database, servers) as made:
        # A NOT NULL is a constraint of its own, with a name, since PostgreSQL 18.
        named = made.value("SELECT current_setting('server_version_num')::int") >= 180000
        for statement in MORE.split(";\n"):
            if named or "CONSTRAINT" not in statement:
                made.sql(statement)
        yield made


@pytest.mark.parametrize(
    "column",
    ["email", "name", "title", "price", "kind", "tags", "profile", "team", 'Of "Old', "slot", "shout"],
)
def test_a_parked_column_comes_back_as_it_was(room: Room, column: str) -> None:
    room.sql("ALTER TABLE users DROP CONSTRAINT at_a_time")
    schema, besides = dumped(room), room.sql(BESIDES)
    rows = room.sql("SELECT u::text FROM users u ORDER BY id")
    with room.unit() as unit:
        unit.park_column(USERS, column)
    assert unlike(schema, dumped(room)) != ""
    room.take_back()
    assert unlike(schema, dumped(room)) == ""
    assert room.sql(BESIDES) == besides
    assert room.sql("SELECT u::text FROM users u ORDER BY id") == rows


def test_a_parked_table_comes_back_as_it_was(room: Room) -> None:
    schema, besides = dumped(room), room.sql(BESIDES)
    with room.unit() as unit:
        unit.park_table(USERS)
    assert "CREATE TABLE public.users " not in "\n".join(dumped(room))
    room.take_back()
    assert unlike(schema, dumped(room)) == ""
    assert room.sql(BESIDES) == besides
