"""A table with everything that can hang on one is made anew from its backup, and all of it is there again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from heavy_table import BESIDES, USERS, database_with_roles, dumped, heavy_room, unlike
from postgres_copies import copied
from postgres_tables import DB, Room

from addresses import Addresses
from lockstep.domain.resources import Everything


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with database_with_roles(servers) as made:
        yield made


@pytest.fixture
def room(database: str, servers: Addresses) -> Iterator[Room]:
    with heavy_room(database, servers) as made:
        yield made


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE users ADD extra text DEFAULT 'x'",
        "ALTER TABLE users DROP CONSTRAINT lonely; UPDATE users SET name = name || '!', price = 9 WHERE id > 3",
        "DELETE FROM posts; DELETE FROM users WHERE id > 4",
    ],
)
def test_it_is_what_it_was_with_all_that_hangs_on_it(room: Room, damage: str) -> None:
    schema, besides, prints = dumped(room), room.sql(BESIDES), room.store.fingerprint(Everything(DB))
    with copied(room) as copy:
        for statement in damage.split("; "):
            room.sql(statement)
        room.store.adopt(copy, [Everything(DB)])
    assert room.store.fingerprint(Everything(DB)) == prints
    assert unlike(schema, dumped(room)) == ""
    assert room.sql(BESIDES) == besides
    assert room.store.exists(USERS)
