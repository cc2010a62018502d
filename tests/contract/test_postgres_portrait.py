"""The shape of a whole database is told object by object, and is the same for the same shape."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_copies import copied
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.resources import Table

USERS = Table(DB, "users")

MAKE = """
CREATE SCHEMA other;
CREATE TYPE mood AS ENUM ('happy', 'it''s sad');
CREATE TYPE pair AS (a int, b text);
CREATE DOMAIN mail AS text CHECK (VALUE LIKE '%@%');
CREATE TYPE span AS RANGE (subtype = float8);
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION plus(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 + $2';
CREATE PROCEDURE act() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE total(int) (SFUNC = plus, STYPE = int);
CREATE SEQUENCE alone START 5;
CREATE TABLE teams (id int PRIMARY KEY, "Odd ""%" text COLLATE "C");
CREATE TABLE users (
    id serial PRIMARY KEY, no bigint GENERATED ALWAYS AS IDENTITY, team int REFERENCES teams, feels mood, at mail,
    name text NOT NULL DEFAULT 'x', shout text GENERATED ALWAYS AS (upper(name)) STORED, gone text UNIQUE,
    CONSTRAINT named CHECK (name <> ''), CONSTRAINT gone_or_not CHECK (gone <> name)
) WITH (fillfactor = 90);
CREATE INDEX users_by_name ON users (lower(name)) WHERE team IS NULL;
CREATE INDEX users_by_gone ON users (lower(gone));
CREATE TRIGGER keep BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION keep();
ALTER TABLE users DISABLE TRIGGER keep;
CREATE RULE nothing AS ON DELETE TO teams DO INSTEAD NOTHING;
CREATE POLICY mine ON users FOR SELECT USING (id > 0);
CREATE STATISTICS seen ON team, name FROM users;
CREATE VIEW named_users AS SELECT id, name FROM users;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM teams;
CREATE TABLE other.logs (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE other.logs_old PARTITION OF other.logs FOR VALUES FROM ('2020-01-01') TO ('2024-01-01');
"""

#: Everything that MAKE makes, and what comes along.
OBJECTS = {
    "aggregate total(integer)",
    "constraint gone_or_not on users",
    "constraint named on users",
    "constraint teams_pkey on teams",
    "constraint users_gone_key on users",
    "constraint users_pkey on users",
    "constraint users_team_fkey on users",
    "function keep()",
    "function plus(integer, integer)",
    "index teams_pkey",
    "index users_by_gone",
    "index users_by_name",
    "index users_gone_key",
    "index users_pkey",
    "materialized view counted",
    "policy mine on users",
    "procedure act()",
    "rule nothing on teams",
    "schema other",
    "sequence alone",
    "sequence users_id_seq",
    "sequence users_no_seq",
    "statistics seen",
    "table other.logs",
    "table other.logs_old",
    "table teams",
    "table users",
    "trigger keep on users",
    "type mail",
    "type mood",
    "type pair",
    "type span",
    "view named_users",
}


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(servers: Addresses, database: str) -> Iterator[Room]:
    with emptied_room(database, servers.pg_bin) as made:
        made.sql(MAKE)
        yield made


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def test_every_object_in_use_is_told_and_nothing_of_lockstep_s_own(room: Room) -> None:
    found = room.store.portrait()
    functions = {name for name in found if name.startswith("function multirange") or "span" in name}
    assert set(found) - functions == OBJECTS - functions
    assert list(found) == sorted(found)
    assert found["table users"].splitlines()[0] == "WITH (fillfactor=90)"
    assert "name text NOT NULL DEFAULT 'x'::text" in found["table users"].splitlines()
    assert found["type mood"] == "ENUM ('happy', 'it''s sad')"
    assert found["trigger keep on users"].endswith("DISABLED")
    assert "FOR VALUES FROM" in found["table other.logs_old"]


def test_a_restored_copy_has_the_same(room: Room) -> None:
    with copied(room) as copy:
        assert copy.portrait() == room.store.portrait()


@pytest.mark.parametrize(
    ("change", "objects"),
    [
        ("ALTER TABLE users ALTER name DROP NOT NULL", {"table users"}),
        ("ALTER TABLE users ADD extra int", {"table users"}),
        ("CREATE UNIQUE INDEX once ON users (name)", {"index once"}),
        ("DROP INDEX users_by_name", {"index users_by_name"}),
        ("ALTER TABLE users DROP CONSTRAINT named", {"constraint named on users"}),
        ("ALTER TABLE users ENABLE TRIGGER keep", {"trigger keep on users"}),
        ("ALTER TYPE mood ADD VALUE 'new'", {"type mood"}),
        ("ALTER SEQUENCE alone INCREMENT 2", {"sequence alone"}),
        (
            "CREATE OR REPLACE FUNCTION plus(int, int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            {"function plus(integer, integer)"},
        ),
        (
            "CREATE OR REPLACE VIEW named_users AS SELECT id, upper(name) AS name FROM users",
            {"view named_users"},
        ),
        ("ALTER POLICY mine ON users USING (id > 1)", {"policy mine on users"}),
        ("CREATE SCHEMA third", {"schema third"}),
        ("ALTER TABLE users ENABLE ROW LEVEL SECURITY", {"table users"}),
        ("SELECT setval('alone', 99)", set()),
        ("COMMENT ON TABLE users IS 'said'", set()),
        ("GRANT SELECT ON users TO PUBLIC", set()),
        ("INSERT INTO teams VALUES (1)", set()),
    ],
)
def test_a_change_shows_by_object(room: Room, change: str, objects: set[str]) -> None:
    before = room.store.portrait()
    room.sql(change)
    assert changed(before, room.store.portrait()) == objects


def test_what_is_parked_is_as_if_it_were_gone(room: Room) -> None:
    room.sql("CREATE TABLE extra (id serial PRIMARY KEY)")
    before = room.store.portrait()
    with room.unit() as unit:
        unit.park_column(USERS, "gone")
        unit.park_table(Table(DB, "extra"))
    parked = room.store.portrait()
    assert not any("lockstep" in name + text for name, text in parked.items())
    room.take_back()
    assert room.store.portrait() == before
    room.sql("ALTER TABLE users DROP COLUMN gone; DROP TABLE extra")
    assert parked == room.store.portrait()


def test_it_does_not_depend_on_the_search_path_or_the_order_of_columns(room: Room) -> None:
    before = room.store.portrait()
    name = room.value("SELECT current_database()")
    room.sql('ALTER TABLE teams DROP "Odd ""%"; ALTER TABLE teams ADD "Odd ""%" text COLLATE "C"')
    room.sql(f"ALTER DATABASE {name} SET search_path = other")
    try:
        room.store.close()
        assert room.store.portrait() == before
    finally:
        room.sql(f"ALTER DATABASE {name} RESET ALL")
