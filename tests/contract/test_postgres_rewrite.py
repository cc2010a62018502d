"""A table written anew and swapped in keeps all that hangs on it, and the way back gives the old one its place."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from heavy_table import (
    BESIDES,
    USERS,
    database_with_roles,
    dumped,
    heavy_room,
    rewrite,
    unlike,
)
from postgres_tables import DB, Room

from addresses import Addresses
from lockstep.domain.errors import ConflictError, Refused
from lockstep.domain.resources import Everything


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with database_with_roles(servers) as made:
        yield made


@pytest.fixture
def room(database: str, servers: Addresses) -> Iterator[Room]:
    with heavy_room(database, servers) as made:
        yield made


def test_a_table_is_written_anew_with_all_that_hangs_on_it(room: Room) -> None:
    schema, besides = dumped(room), room.sql(BESIDES)
    shape = room.store.fingerprint(USERS)["users"].shape
    oid = room.value("SELECT 'users'::regclass::oid::int")
    assert rewrite(room) == 20
    assert room.value("SELECT 'users'::regclass::oid::int") != oid
    assert unlike(schema, dumped(room)) == ""
    assert room.sql(BESIDES) == besides
    assert room.store.fingerprint(USERS)["users"].shape == shape
    assert room.sql(
        "SELECT count(*) FROM users WHERE email_lower = lower(email) AND shout = upper(email)"
    ) == [(20,)]


def test_the_way_back_gives_everything_its_place_again_and_can_be_gone_twice(room: Room) -> None:
    schema, besides, prints = dumped(room), room.sql(BESIDES), room.store.fingerprint(Everything(DB))
    oid = room.value("SELECT 'users'::regclass::oid::int")
    for _ in range(2):
        rewrite(room)
        (taken,) = room.take_back()
        assert (taken.restored, taken.conflicts, taken.last) == (20, (), True)
        assert room.value("SELECT 'users'::regclass::oid::int") == oid
        assert unlike(schema, dumped(room)) == ""
        assert room.sql(BESIDES) == besides
        assert room.store.fingerprint(Everything(DB)) == prints
    assert room.sql("SELECT relname FROM pg_class WHERE relnamespace = 'lockstep_parked'::regnamespace") == []
    assert room.sql("SELECT relname FROM pg_class WHERE starts_with(relname, '_lockstep')") == []


def test_sequences_go_on_where_they_were_both_ways(room: Room) -> None:
    rewrite(room)
    room.sql("INSERT INTO users (name, email, price) VALUES ('new', 'new', 3)")
    new = room.sql("SELECT id, no FROM users WHERE name = 'new'")
    assert new == [(21, 100 + 7 * 21)]  # a cache of three: the session before this one took 20 and 21
    room.sql("DELETE FROM users WHERE name = 'new'")
    room.take_back()
    room.sql("INSERT INTO users (name, email, price) VALUES ('new', 'new', 3)")
    ((id_, no),) = room.sql("SELECT id, no FROM users WHERE name = 'new'")
    assert id_ == 22
    assert no > new[0][1]


def test_foreign_keys_and_views_go_to_the_new_table_and_nothing_to_the_parked_one(room: Room) -> None:
    rewrite(room)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        room.sql("INSERT INTO posts VALUES (100, 1000)")
    room.sql("DELETE FROM users WHERE id = 5")
    assert room.value("SELECT count(*) FROM posts") == 4
    assert room.value("SELECT count(*) FROM named_users") == 19
    assert room.value("SELECT count(*) FROM grouped") == 4
    # What is parked still has rows of this team, and must not hold up who deletes it.
    room.sql("UPDATE users SET team = NULL")
    room.sql("DELETE FROM groups")
    (parked,) = room.sql(
        "SELECT c.oid::int FROM pg_class c WHERE c.relnamespace = 'lockstep_parked'::regnamespace AND relkind = 'r'"
    )
    assert (
        room.sql(
            f"SELECT conname FROM pg_constraint WHERE contype = 'f' AND {parked[0]} IN (conrelid, confrelid)"
        )
        == []
    )
    room.sql("DROP TABLE users CASCADE")
    assert room.value("SELECT to_regclass('users_id_seq')") is None


def test_a_row_changed_since_stops_a_strict_way_back_and_stays_on_a_lenient_one(room: Room) -> None:
    room.sql("ALTER TABLE users ENABLE RULE noted")
    before = room.sql("SELECT id, email_lower FROM users WHERE id > 3 ORDER BY id")
    rewrite(room)
    # Its trigger would change a row that is only carried back.
    room.sql(
        "CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'it fired'; END $$; ALTER TABLE users DISABLE TRIGGER USER"
    )
    room.sql("UPDATE users SET name = 'changed' WHERE id = 1")
    room.sql("DELETE FROM users WHERE id = 2")
    room.sql("UPDATE users SET email_lower = 'mine' WHERE id = 3")
    room.sql("INSERT INTO users (id, email, name, price) VALUES (50, 'u', 'came', 9)")
    room.sql("ALTER TABLE users ENABLE TRIGGER keep, ENABLE ALWAYS TRIGGER keep_always")
    now = room.sql("SELECT t::text FROM users t ORDER BY id")
    with pytest.raises(ConflictError, match="4 record") as told:
        room.take_back()
    assert told.value.keys == ("1", "2", "3", "50")
    assert room.sql("SELECT t::text FROM users t ORDER BY id") == now
    (taken,) = room.take_back(strict=False)
    assert (taken.restored, taken.conflicts, taken.last) == (16, ("1", "2", "3", "50"), True)
    assert room.sql("SELECT id, email_lower FROM users WHERE id BETWEEN 4 AND 20 ORDER BY id") == before
    assert room.sql("SELECT id, name, email_lower FROM users WHERE id IN (1, 2, 3, 50) ORDER BY id") == [
        (1, "changed", "u1@x"),
        (3, "n3", "mine"),
        (50, "came", None),
    ]
    assert room.sql(
        "SELECT tgname, tgenabled FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal "
        "ORDER BY 1"
    ) == [("keep", "O"), ("keep_always", "A"), ("keep_off", "D")]
    assert room.value("SELECT count(*) FROM log") == 1


def test_a_row_changed_and_put_back_is_as_the_swap_left_it(room: Room) -> None:
    prints = room.store.fingerprint(USERS)
    rewrite(room, email_lower="lower(users.email)", price="price * 1.5", kind="'y'", title="NULL")
    room.update(USERS, {"name": "name || '!'", "email_lower": "'gone'"}, step=2)
    room.take_back(step=2)
    (taken,) = room.take_back()
    assert taken.restored == 20
    assert room.store.fingerprint(USERS) == prints


ALTERED = {
    "ALTER TABLE users ADD nick text": "column nick is new",
    "CREATE INDEX since ON users (team)": "index since is new",
    "DROP INDEX users_tags": "index users_tags is missing",
    "GRANT DELETE ON users TO lockstep_reader": "table is another",
    "COMMENT ON COLUMN users.name IS 'new'": "column name is another",
    "ALTER TABLE users DISABLE TRIGGER keep": "trigger keep is another",
    "CREATE POLICY since ON users": "policy since is new",
}


@pytest.mark.parametrize("statement", ALTERED)
def test_a_table_altered_since_is_not_swapped_back(room: Room, statement: str) -> None:
    rewrite(room)
    room.sql(statement)
    schema = dumped(room)
    with pytest.raises(Refused, match=re.escape(ALTERED[statement])):
        room.take_back(strict=False)
    assert unlike(schema, dumped(room)) == ""


def test_what_refers_to_the_table_since_refers_to_the_old_one_again(room: Room) -> None:
    rewrite(room)
    room.sql("CREATE VIEW since AS SELECT id FROM users")
    room.sql("CREATE TABLE fans (id int PRIMARY KEY, of int REFERENCES users)")
    room.sql("DROP VIEW grouped")
    schema = dumped(room)
    room.take_back()
    assert unlike(schema, dumped(room)) == ""
    assert room.value("SELECT count(*) FROM since") == 20


def test_what_hangs_on_the_new_table_and_is_not_carried_stops_the_way_back(room: Room) -> None:
    rewrite(room)
    room.sql("CREATE MATERIALIZED VIEW since AS SELECT id FROM users")
    with pytest.raises(Refused, match="materialized view"):
        room.take_back()
    room.sql("DROP MATERIALIZED VIEW since")
    assert room.take_back()[0].restored == 20
