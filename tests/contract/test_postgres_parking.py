"""What is dropped is parked with all that hangs on it, and comes back as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_tables import ALL, DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.errors import DataError, Refused
from lockstep.domain.resources import Everything, Table

USERS = Table(DB, "users")
POSTS = Table(DB, "posts")

MAKE = """
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TABLE groups (id int PRIMARY KEY);
CREATE TABLE users (
    id serial PRIMARY KEY,
    no bigint GENERATED ALWAYS AS IDENTITY,
    email text NOT NULL DEFAULT 'nobody' || '@' || 'example.org' CONSTRAINT users_email_once UNIQUE,
    name text COLLATE "C" CONSTRAINT named CHECK (name <> ''),
    team int REFERENCES groups,
    shout text GENERATED ALWAYS AS (upper(name)) STORED
);
CREATE INDEX users_by_name ON users (lower(name)) WHERE team IS NULL;
CREATE TRIGGER keep BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION keep();
CREATE TABLE posts (id int PRIMARY KEY, author int NOT NULL REFERENCES users ON DELETE CASCADE);
CREATE VIEW named_users AS SELECT id, name, email FROM users;
INSERT INTO groups VALUES (1);
INSERT INTO users (email, name, team) SELECT 'u' || n, 'n' || n, nullif(n % 2, 0) FROM generate_series(1, 5) AS n;
INSERT INTO posts SELECT n, n FROM generate_series(1, 5) AS n;
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


def park_table(room: Room, table: Table, run: str = "r1", step: int = 1) -> None:
    with room.unit(run, step) as unit:
        unit.park_table(table)


def park_column(room: Room, column: str, run: str = "r1", step: int = 1) -> None:
    with room.unit(run, step) as unit:
        unit.park_column(USERS, column)


def test_a_parked_table_is_out_of_use_and_comes_back_whole(room: Room) -> None:
    before = room.store.fingerprint(Everything(DB))
    definition = room.value("SELECT pg_get_viewdef('named_users'::regclass)")
    park_table(room, USERS)
    assert not room.store.exists(USERS)
    assert [table.slug for table in room.store.tables()] == ["groups", "posts"]
    assert not room.store.fingerprint(USERS)["users"].present
    assert room.value("SELECT count(*) FROM named_users") == 5
    (taken,) = room.take_back()
    assert (taken.restored, taken.conflicts, taken.last) == (1, (), True)
    assert room.store.fingerprint(Everything(DB)) == before
    assert room.value("SELECT pg_get_viewdef('named_users'::regclass)") == definition
    room.sql("INSERT INTO users (name) VALUES ('next')")
    assert room.sql("SELECT id, no, email FROM users WHERE name = 'next'") == [(6, 6, "nobody@example.org")]
    assert room.sql(
        "SELECT pg_get_serial_sequence('users', 'id'), pg_get_serial_sequence('users', 'no')"
    ) == [("public.users_id_seq", "public.users_no_seq")]


def test_tables_of_one_name_are_parked_side_by_side(room: Room) -> None:
    for run in ("r1", "r2"):
        park_table(room, POSTS, run)
        room.sql("CREATE TABLE posts (id int PRIMARY KEY, author int, run text)")
    room.sql("DROP TABLE posts")
    room.take_back("r2")
    assert room.store.keys_of(POSTS) == ("id",)
    assert room.value("SELECT count(*) FROM posts WHERE run IS NULL") == 0
    room.sql("DROP TABLE posts")
    room.take_back("r1")
    assert room.value("SELECT count(*) FROM posts") == 5


def test_a_table_whose_name_is_taken_again_is_not_taken_back(room: Room) -> None:
    park_table(room, POSTS)
    room.sql("CREATE TABLE posts (id int)")
    with pytest.raises(Refused, match="exists again"):
        room.take_back()
    room.sql("DROP TABLE posts")
    room.take_back()
    assert room.value("SELECT count(*) FROM posts") == 5


def test_a_table_of_a_very_long_name_can_be_parked(room: Room) -> None:
    table = Table(DB, "é" * 31)
    room.sql(f"CREATE TABLE {table.name} (id serial PRIMARY KEY, email text UNIQUE)")
    before = room.store.fingerprint(table)
    park_table(room, table)
    room.take_back()
    assert room.store.fingerprint(table) == before


@pytest.mark.parametrize("column", ["email", "name", "team", "no", "shout"])
def test_a_parked_column_is_out_of_use_and_comes_back_as_it_was(room: Room, column: str) -> None:
    before = room.store.fingerprint(USERS)["users"]
    order = room.sql("SELECT * FROM users ORDER BY id")
    park_column(room, column)
    parked = room.store.fingerprint(USERS)["users"]
    assert (parked.count, parked.keys) == (before.count, before.keys)
    assert parked.content != before.content
    assert parked.shape != before.shape
    page = room.store.read(USERS, columns=None, where=None, within=ALL, after=None, limit=1)
    assert column not in page.records[0]
    assert not any(name.startswith("_lockstep") for name in page.records[0])
    (taken,) = room.take_back()
    assert (taken.restored, taken.last) == (1, True)
    assert room.store.fingerprint(USERS)["users"] == before
    assert room.sql("SELECT * FROM users ORDER BY id") == order


def test_rows_come_and_go_while_a_column_is_parked(room: Room) -> None:
    park_column(room, "email")
    room.sql("INSERT INTO users (name) VALUES ('new')")
    room.sql("DELETE FROM users WHERE id = 1")
    room.take_back()
    assert room.sql("SELECT id, email FROM users ORDER BY id")[0] == (2, "u2")
    assert room.value("SELECT email FROM users WHERE name = 'new'") == "nobody@example.org"


def test_rows_without_a_value_for_a_column_that_needs_one_are_said(room: Room) -> None:
    room.sql("ALTER TABLE users ALTER email DROP DEFAULT")
    park_column(room, "email")
    room.sql("INSERT INTO users (name) VALUES ('new')")
    with pytest.raises(DataError, match="1 row"):
        room.take_back()
    room.sql("DELETE FROM users WHERE name = 'new'")
    room.take_back()
    assert room.value("SELECT count(email) FROM users") == 5


def test_a_column_added_under_the_parked_name_keeps_it(room: Room) -> None:
    park_column(room, "name")
    room.sql("ALTER TABLE users ADD name int")
    with pytest.raises(Refused, match="has a column 'name' again"):
        room.take_back()
    park_column(room, "name", run="r2")
    room.sql("ALTER TABLE users ADD name bool")
    room.sql("ALTER TABLE users DROP COLUMN name")
    room.take_back("r2")
    assert room.value("SELECT count(name) FROM users") == 0
    room.sql("ALTER TABLE users DROP COLUMN name")
    room.take_back("r1")
    assert room.value("SELECT min(name) FROM users") == "n1"


def test_what_is_parked_already_by_the_same_step_is_left(room: Room) -> None:
    park_table(room, POSTS)
    park_table(room, POSTS)
    park_column(room, "name", step=2)
    park_column(room, "name", step=2)
    assert room.value("SELECT count(*) FROM lockstep_state.journal") == 2


@pytest.mark.parametrize(("column", "words"), [("id", "primary key"), ("nmae", "Did you mean 'name'")])
def test_a_column_that_cannot_be_parked_is_refused(room: Room, column: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        park_column(room, column)


def test_only_ordinary_tables_are_parked(room: Room) -> None:
    room.sql("CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    for name, words in (
        ("parts", "ordinary"),
        ("named_users", "ordinary"),
        ("postss", "Did you mean 'posts'"),
    ):
        with pytest.raises(DataError, match=words):
            park_table(room, Table(DB, name))


def test_rows_changed_before_the_park_are_taken_back_after_it(room: Room) -> None:
    before = room.store.fingerprint(Everything(DB))
    with room.unit() as unit:
        unit.update_range(
            USERS, {"name": "name || '!'"}, where=None, within=ALL, after=None, limit=9, journal=True
        )
        unit.park_column(USERS, "name")
        unit.park_table(USERS)
    taken = room.take_back(limit=3)
    assert [batch.restored for batch in taken] == [1, 1, 3, 2]
    assert room.store.fingerprint(Everything(DB)) == before
