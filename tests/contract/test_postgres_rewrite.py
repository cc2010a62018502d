"""A table written anew and swapped in keeps all that hangs on it, and the way back gives the old one its place."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from postgres_tables import ALL, DB, Room, emptied_room, fresh_database, wait_until_blocked
from psycopg.conninfo import make_conninfo

from addresses import Addresses
from lockstep.domain.errors import ConflictError, DataError, Refused, Unavailable
from lockstep.domain.resources import Everything, Table
from lockstep.stores.postgres import PostgresStore

USERS = Table(DB, "users")
POSTS = Table(DB, "posts")
SET = {"email_lower": "lower(email)"}

ROLES = ("owner", "reader", "writer", "boss")

#: Everything that can hang on a table and is carried.
MAKE = """
CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE FUNCTION fine(text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 <> ''bad''';
CREATE DOMAIN code AS text CHECK (value <> 'none');
CREATE COLLATION sorted FROM "POSIX";
CREATE TABLE groups (id int PRIMARY KEY, boss int);
CREATE TABLE "users" (
    gone int,
    id serial PRIMARY KEY,
    no bigint GENERATED ALWAYS AS IDENTITY (START 100 INCREMENT 7 CACHE 3),
    email text NOT NULL DEFAULT 'nobody' || '@' || 'example.org',
    email_lower text,
    name varchar(40) COLLATE "C" CONSTRAINT named CHECK (name <> '' AND fine(name)) NO INHERIT,
    title text COLLATE sorted DEFAULT '50%% off',
    price numeric(10, 2) CONSTRAINT priced NOT NULL DEFAULT 1.234,
    kind code DEFAULT 'x',
    tags text[] STORAGE EXTERNAL,
    profile jsonb COMPRESSION pglz,
    team int,
    "Of ""Old" int,
    slot int4range,
    during tstzrange DEFAULT '[2026-01-01,2026-02-01)',
    shout text GENERATED ALWAYS AS (upper(email_lower)) STORED,
    CONSTRAINT "mail once" UNIQUE NULLS NOT DISTINCT (email) INCLUDE (name) WITH (fillfactor = 80)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT lonely EXCLUDE USING gist (during WITH &&) WITH (fillfactor = 70) WHERE (id < 2) DEFERRABLE,
    CONSTRAINT at_a_time UNIQUE (slot, during WITHOUT OVERLAPS),
    CONSTRAINT in_team FOREIGN KEY (team) REFERENCES groups ON UPDATE CASCADE ON DELETE SET NULL (team)
        DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT of_old FOREIGN KEY ("Of ""Old") REFERENCES "users" (id)
) WITH (fillfactor = 90, autovacuum_enabled = false, toast.autovacuum_vacuum_threshold = 77);
ALTER TABLE users DROP COLUMN gone;
ALTER TABLE users ADD CONSTRAINT later CHECK (price > 2) NOT VALID;
ALTER TABLE users ADD CONSTRAINT team_later FOREIGN KEY (team) REFERENCES groups (id) NOT VALID;
ALTER TABLE users ALTER name SET STATISTICS 77, ALTER email SET (n_distinct = -0.5);
CREATE INDEX "users by %% name" ON users (lower(name) text_pattern_ops DESC NULLS LAST, id) INCLUDE (email)
    WITH (fillfactor = 60) WHERE team IS NULL;
ALTER INDEX "users by %% name" ALTER COLUMN 1 SET STATISTICS 99;
CREATE UNIQUE INDEX users_no ON users (no);
CREATE INDEX users_tags ON users USING gin (tags);
ALTER TABLE users REPLICA IDENTITY USING INDEX users_no;
ALTER TABLE users CLUSTER ON users_pkey;
CREATE STATISTICS seen (ndistinct, mcv) ON team, name FROM users;
ALTER STATISTICS seen SET STATISTICS 55;
CREATE TRIGGER keep BEFORE UPDATE OF name ON users FOR EACH ROW WHEN (NEW.name <> 'x') EXECUTE FUNCTION keep('50%%');
CREATE TRIGGER keep_off AFTER INSERT ON users REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION keep();
ALTER TABLE users DISABLE TRIGGER keep_off;
CREATE CONSTRAINT TRIGGER keep_always AFTER UPDATE ON users DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION keep();
ALTER TABLE users ENABLE ALWAYS TRIGGER keep_always;
CREATE TABLE log (id int, what text);
CREATE RULE noted AS ON DELETE TO users DO ALSO INSERT INTO log VALUES (OLD.id, 'gone');
ALTER TABLE users ENABLE REPLICA RULE noted;
CREATE POLICY mine ON users AS RESTRICTIVE FOR SELECT TO lockstep_reader, lockstep_writer
    USING (team IN (SELECT g.id FROM groups g WHERE g.boss > 0));
CREATE POLICY ours ON users FOR ALL USING (name = current_user) WITH CHECK (id > 0);
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE TABLE posts (
    id int PRIMARY KEY, author int NOT NULL, mail text,
    CONSTRAINT by_author FOREIGN KEY (author) REFERENCES users ON DELETE CASCADE DEFERRABLE
);
CREATE TABLE notes (id int PRIMARY KEY, author int);
ALTER TABLE notes ADD FOREIGN KEY (author) REFERENCES users (id) NOT VALID;
CREATE VIEW named_users (who, mail) WITH (security_barrier = true, check_option = local)
    AS SELECT id, email FROM users WHERE name <> '100%%';
CREATE VIEW grouped AS SELECT u.id, u.name, count(*) AS n FROM users u JOIN posts p ON p.author = u.id GROUP BY u.id;
CREATE VIEW over_views AS SELECT * FROM named_users;
ALTER VIEW named_users ALTER COLUMN mail SET DEFAULT 'm';
COMMENT ON TABLE users IS 'it''s 100%% users';
COMMENT ON COLUMN users.email IS 'the mail';
COMMENT ON COLUMN users.shout IS 'loud';
COMMENT ON CONSTRAINT "mail once" ON users IS 'once';
COMMENT ON CONSTRAINT named ON users IS 'named';
COMMENT ON CONSTRAINT in_team ON users IS 'teams';
COMMENT ON CONSTRAINT by_author ON posts IS 'authors';
COMMENT ON INDEX "users by %% name" IS 'by name';
COMMENT ON TRIGGER keep ON users IS 'keeps';
COMMENT ON RULE noted ON users IS 'notes';
COMMENT ON POLICY mine ON users IS 'mine';
COMMENT ON STATISTICS seen IS 'seen';
COMMENT ON SEQUENCE users_no_seq IS 'numbers';
COMMENT ON VIEW named_users IS 'named';
CREATE PUBLICATION told FOR TABLE users (id, no, email) WHERE (no > 1), log;
GRANT USAGE ON SCHEMA public TO PUBLIC;
GRANT SELECT, UPDATE ON users TO lockstep_reader WITH GRANT OPTION;
GRANT INSERT ON users TO PUBLIC;
GRANT UPDATE (name), SELECT (id) ON users TO lockstep_writer WITH GRANT OPTION;
GRANT USAGE ON SEQUENCE users_no_seq TO lockstep_writer;
GRANT USAGE ON SEQUENCE users_id_seq TO lockstep_reader;
GRANT SELECT ON named_users TO lockstep_reader;
SET ROLE lockstep_reader;
GRANT SELECT ON users TO lockstep_boss;
RESET ROLE;
REVOKE TRUNCATE ON users FROM CURRENT_USER;
INSERT INTO groups VALUES (1, 1);
INSERT INTO users (email, name, team, tags, profile, price)
SELECT 'U' || n || '@X', 'n' || n, nullif(n %% 2, 0), ARRAY['t' || n], '{"a": 1}', n + 2
FROM generate_series(1, 20) AS n;
INSERT INTO posts SELECT n, n FROM generate_series(1, 5) AS n;
""".replace("%%", "%")

#: What pg_dump does not tell, or tells only where it is not the usual.
BESIDES = """
SELECT 'replica', relreplident::text, relrowsecurity::text FROM pg_class WHERE relname = 'users'
UNION ALL SELECT 'clustered', indexrelid::regclass::text, indisclustered::text
FROM pg_index WHERE indrelid = 'users'::regclass
UNION ALL SELECT 'owned', pg_get_serial_sequence('users', 'id'), pg_get_serial_sequence('users', 'no')
UNION ALL SELECT 'state', last_value::text, is_called::text FROM users_id_seq
UNION ALL SELECT 'state', last_value::text, is_called::text FROM users_no_seq
ORDER BY 1, 2
"""


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with psycopg.connect(servers.postgres, autocommit=True) as admin:
        for role in ROLES:
            admin.execute(f"DROP ROLE IF EXISTS lockstep_{role}".encode())
            admin.execute(f"CREATE ROLE lockstep_{role}".encode())
    with fresh_database(servers) as made:
        yield made
    with psycopg.connect(servers.postgres, autocommit=True) as admin:
        for role in ROLES:
            admin.execute(f"DROP ROLE lockstep_{role}".encode())


@pytest.fixture
def room(database: str, servers: Addresses) -> Iterator[Room]:
    with emptied_room(database, servers.pg_bin) as made:
        made.sql("DROP PUBLICATION IF EXISTS told, all_tables")
        made.sql(MAKE)
        yield made


def rewrite(room: Room, table: Table = USERS, step: int = 1, **assignments: str) -> int:
    with room.unit(step=step) as unit:
        return unit.rewrite_table(table, assignments or SET)


def dumped(room: Room) -> list[str]:
    """Return the schema as pg_dump tells it, Lockstep's own left out, in an order of its own."""
    program = str(room.pg_bin / "pg_dump") if room.pg_bin else "pg_dump"
    options = ["--schema-only", "--restrict-key=x", "--exclude-schema=lockstep*"]
    text = subprocess.run(
        [program, *options, "--dbname", room.conninfo],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ,
    ).stdout
    return sorted(part.strip() for part in re.split(r"\n-- Name: ", text))


def unlike(before: list[str], after: list[str]) -> str:
    return "\n".join(
        difflib.unified_diff("\n".join(before).split("\n"), "\n".join(after).split("\n"), lineterm="")
    )


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


REFUSED = {
    "CREATE MATERIALIZED VIEW mv AS SELECT id FROM users": "materialized view public.mv depends on",
    "CREATE TABLE child () INHERITS (users)": "public.child inherits from it",
    "CREATE TABLE holder (one users)": "column one of table public.holder depends on",
    "CREATE TABLE holders (many users[])": "column many of table public.holders depends on",
    "CREATE FUNCTION f(users) RETURNS int LANGUAGE sql AS 'SELECT 1'": "function public.f(public.users) depends on",
    "CREATE FUNCTION f() RETURNS SETOF users LANGUAGE plpgsql AS 'BEGIN RETURN; END'": "function public.f() depends",
    "CREATE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM users; END": "function public.f() depends",
    "CREATE POLICY other ON groups USING (id IN (SELECT team FROM users))": "policy other on table public.groups",
    "CREATE RULE other AS ON DELETE TO groups DO ALSO DELETE FROM users": "rule other on table public.groups",
    "CREATE VIEW rows AS SELECT u AS whole FROM users u": "column whole of view public.rows depends on",
    "ALTER TABLE groups ADD no bigint DEFAULT nextval('users_no_seq')": "default value for column no of table",
    (
        "CREATE CONSTRAINT TRIGGER far AFTER DELETE ON groups FROM users FOR EACH ROW EXECUTE FUNCTION keep()"
    ): "trigger far on table public.groups depends on",
    "CREATE DOMAIN whole AS users": "type public.whole depends on",
    "ALTER TABLE posts DISABLE TRIGGER ALL": "foreign key by_author of public.posts",
    "ALTER TABLE users ADD CONSTRAINT wanted NOT NULL team NOT VALID": "constraint wanted, a NOT NULL that is NOT VALID",
    "ALTER TRIGGER keep ON users DEPENDS ON EXTENSION plpgsql": "depends on extension plpgsql",
    "ALTER EXTENSION plpgsql ADD TABLE users": "depends on extension plpgsql",
}


@pytest.mark.parametrize("statement", REFUSED)
def test_what_cannot_be_carried_is_refused_by_name_before_anything_is_done(
    room: Room, statement: str
) -> None:
    room.sql(statement)
    try:
        schema, oid = dumped(room), room.value("SELECT 'users'::regclass::oid::int")
        with pytest.raises(Refused, match=re.escape(REFUSED[statement])) as told:
            rewrite(room)
        assert "ops.update_rows" in str(told.value)
        assert unlike(schema, dumped(room)) == ""
        assert room.value("SELECT 'users'::regclass::oid::int") == oid
    finally:
        if "EXTENSION plpgsql" in statement:
            undo = statement.replace("ADD TABLE", "DROP TABLE").replace("DEPENDS", "NO DEPENDS")
            room.sql(undo)


def simple(room: Room, name: str = "plain", schema: str = "public", more: str = "") -> Table:
    """Make a table of three rows with a sequence, an index and a view of its own."""
    room.sql(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    room.sql(
        f'CREATE {more} TABLE "{schema}"."{name}" (id serial PRIMARY KEY, n int UNIQUE, "%" text);'
        f'INSERT INTO "{schema}"."{name}" (n) SELECT generate_series(1, 3);'
        f'CREATE VIEW "{schema}"."{name[:20]} seen" AS SELECT * FROM "{schema}"."{name}"'
    )
    return Table(DB, name, schema=schema)


@pytest.mark.parametrize(
    ("name", "schema", "more"),
    [
        ("plain", "other", ""),
        ("plain", "public", "UNLOGGED"),
        ("50% off", "other", ""),
        ("é" * 31, "public", ""),
        ("x" * 63, "public", ""),
    ],
)
def test_a_table_of_any_name_and_kind_goes_there_and_back(
    room: Room, name: str, schema: str, more: str
) -> None:
    table = simple(room, name, schema, more)
    dump = dumped(room)
    prints = room.store.fingerprint(table)
    assert rewrite(room, table, **{"%": "'100%'"}) == 3
    assert unlike(dump, dumped(room)) == ""
    assert room.sql(f'SELECT "%" FROM "{schema}"."{name[:20]} seen"') == [("100%",)] * 3
    room.take_back()
    assert unlike(dump, dumped(room)) == ""
    assert room.store.fingerprint(table) == prints


def test_an_empty_table_goes_there_and_back(room: Room) -> None:
    table = simple(room)
    room.sql("TRUNCATE plain")
    assert rewrite(room, table, n="1") == 0
    room.sql("INSERT INTO plain (n) VALUES (7)")
    with pytest.raises(ConflictError):
        room.take_back()
    (taken,) = room.take_back(strict=False)
    assert taken.conflicts == ("4",)
    assert room.sql("SELECT id, n FROM plain") == [(4, 7)]


def test_values_that_changed_places_since_are_kept(room: Room) -> None:
    table = simple(room)
    rewrite(room, table, **{"%": "'new'"})
    room.sql(
        "UPDATE plain SET n = 9 WHERE id = 1; UPDATE plain SET n = 1 WHERE id = 2; UPDATE plain SET n = 2 WHERE id = 1"
    )
    (taken,) = room.take_back(strict=False)
    assert taken.conflicts == ("1", "2")
    assert room.sql('SELECT id, n, "%" FROM plain ORDER BY id') == [
        (1, 2, "new"),
        (2, 1, "new"),
        (3, 3, None),
    ]


def test_conflicts_are_counted_to_the_last_and_named_to_the_hundredth(room: Room) -> None:
    table = simple(room)
    room.sql("INSERT INTO plain (n) SELECT generate_series(4, 300)")
    rewrite(room, table, **{"%": "'new'"})
    room.sql("UPDATE plain SET n = -n")
    (taken,) = room.take_back(strict=False)
    assert taken.conflicts[99:] == ("100", "and 200 more")
    assert taken.restored == 0


def test_a_parked_column_is_still_there_after_the_swap_and_after_the_way_back(room: Room) -> None:
    table = simple(room)
    with room.unit(step=1) as unit:
        unit.park_column(table, "n")
    rewrite(room, table, step=2, **{"%": "'new'"})
    room.take_back(step=1)
    assert room.sql('SELECT id, n, "%" FROM plain ORDER BY id') == [
        (1, 1, "new"),
        (2, 2, "new"),
        (3, 3, "new"),
    ]


def test_one_table_is_written_anew_twice_and_two_at_once(room: Room) -> None:
    first, second = simple(room), simple(room, schema="other")
    dump = dumped(room)
    with room.unit() as unit:
        for step, (table, expression) in enumerate(
            [(first, "n + 1"), (second, "n * 7"), (first, "n * 10")], 1
        ):
            unit.step = step
            assert unit.rewrite_table(table, {"n": expression}) == 3
            assert unit.rewrite_table(table, {"n": expression}) == 3  # by the same step: done already
    assert unlike(dump, dumped(room)) == ""
    assert room.sql("SELECT p.n, o.n FROM plain p JOIN other.plain o USING (id) ORDER BY 1") == [
        (20, 7),
        (30, 14),
        (40, 21),
    ]
    for step in (3, 2, 1):
        room.take_back(step=step)
    assert unlike(dump, dumped(room)) == ""
    assert room.sql("SELECT p.n, o.n FROM plain p JOIN other.plain o USING (id) ORDER BY 1") == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]


@pytest.mark.parametrize(
    ("table", "assignments", "words"),
    [
        ("plain", {"nn": "1"}, "Did you mean 'n'"),
        ("plain", {"id": "id + 1"}, "part of the primary key"),
        ("users", {"shout": "'x'"}, "generated by the server"),
        ("bare", {"id": "1"}, "no primary key"),
        ("plane", {"n": "1"}, "Did you mean 'plain'"),
        ("plain", {"n": "1"}, "plain_n_key"),
        ("plain", {"n": "'x'"}, "invalid input syntax"),
        ("users", {"name": "''"}, 'violates check constraint "named"'),
        ("users", {"team": "77"}, 'violates foreign key constraint "in_team"'),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(
    room: Room, table: str, assignments: dict[str, str], words: str
) -> None:
    simple(room)
    room.sql("CREATE TABLE bare (id int)")
    dump = dumped(room)
    prints = room.store.fingerprint(Everything(DB))
    with pytest.raises(DataError, match=re.escape(words)):
        rewrite(room, Table(DB, table), **assignments)
    assert unlike(dump, dumped(room)) == ""
    assert room.store.fingerprint(Everything(DB)) == prints
    assert room.value("SELECT count(*) FROM lockstep_state.journal") == 0


def test_readers_go_on_and_writers_wait_while_it_is_filled(room: Room) -> None:
    table = simple(room)
    room.sql(
        "CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql VOLATILE AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN $1; END $$"
    )
    with psycopg.connect(room.conninfo) as gate, ThreadPoolExecutor(1) as pool:
        gate.execute("SELECT pg_advisory_xact_lock(7)")
        filling = pool.submit(rewrite, room, table, n="slow(n) + 1")
        wait_until_blocked(room.conninfo)
        assert room.sql("SELECT n FROM plain ORDER BY n") == [(1,), (2,), (3,)]
        with psycopg.connect(room.conninfo) as writer:
            writer.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                writer.execute("UPDATE plain SET n = 0")
        gate.rollback()
        assert filling.result(60) == 3
    assert room.sql("SELECT n FROM plain ORDER BY n") == [(2,), (3,), (4,)]


def test_a_reader_that_stays_makes_it_give_way_and_leave_nothing(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.stores.postgres.rewrite.ATTEMPTS", 2)
    monkeypatch.setattr("lockstep.stores.postgres.rewrite.PAUSE", 0.01)
    monkeypatch.setattr("lockstep.stores.postgres.unit.LOCK_TIMEOUT", 0.3)
    table = simple(room)
    dump = dumped(room)
    with psycopg.connect(room.conninfo) as reader:
        reader.execute("SELECT * FROM plain")
        with pytest.raises(Unavailable, match="Held by pid"):
            rewrite(room, table, n="n + 1")
    assert unlike(dump, dumped(room)) == ""
    assert rewrite(room, table, n="n + 1") == 3


def test_the_owner_of_a_table_may_do_it_without_being_a_superuser(room: Room) -> None:
    room.sql(
        "GRANT ALL ON SCHEMA public, lockstep_state, lockstep_parked TO lockstep_owner;"
        "GRANT ALL ON ALL TABLES IN SCHEMA lockstep_state TO lockstep_owner;"
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA lockstep_state TO lockstep_owner;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE lockstep_owner GRANT ALL ON TABLES TO PUBLIC;"
        "SET ROLE lockstep_owner;"
        "CREATE TABLE theirs (id serial PRIMARY KEY, n int, no int GENERATED BY DEFAULT AS IDENTITY);"
        "REVOKE ALL ON theirs FROM PUBLIC; GRANT SELECT ON theirs TO lockstep_reader;"
        "CREATE VIEW over AS SELECT * FROM theirs; INSERT INTO theirs (n) VALUES (1), (2); RESET ROLE"
    )
    try:
        dump = dumped(room)
        conn_info = make_conninfo(room.conninfo, options="-c role=lockstep_owner")
        store = PostgresStore(DB, conn_info)
        as_owner = Room(store=store, conninfo=conn_info)
        assert rewrite(as_owner, Table(DB, "theirs"), n="n + 1") == 2
        assert unlike(dump, dumped(room)) == ""
        assert as_owner.take_back()[0].restored == 2
        assert unlike(dump, dumped(room)) == ""
        store.close()
    finally:
        room.sql("ALTER DEFAULT PRIVILEGES FOR ROLE lockstep_owner REVOKE ALL ON TABLES FROM PUBLIC")
        room.sql("DROP OWNED BY lockstep_owner")


def test_checks_that_are_put_off_do_not_hold_it_up(room: Room) -> None:
    dump, prints = dumped(room), room.store.fingerprint(Everything(DB))
    with room.unit() as unit:
        unit.handle.execute("SET CONSTRAINTS ALL DEFERRED")
        unit.update_range(
            USERS,
            {"team": "1", "email": "email || '!'"},
            where=None,
            within=ALL,
            after=None,
            limit=99,
            journal=True,
        )
        unit.update_range(
            POSTS, {"author": "author + 1"}, where=None, within=ALL, after=None, limit=99, journal=True
        )
        unit.step = 2
        assert unit.rewrite_table(USERS, SET) == 20
    assert unlike(dump, dumped(room)) == ""
    with room.store.unit(room.claimed(step=1, phase="undo")) as unit:
        unit.handle.execute("SET CONSTRAINTS ALL DEFERRED")
        unit.update_range(
            POSTS, {"author": "author + 1"}, where=None, within=ALL, after=None, limit=99, journal=False
        )
        unit.update_range(
            POSTS, {"author": "author - 1"}, where=None, within=ALL, after=None, limit=99, journal=False
        )
        assert unit.take_back("r1", 2, limit=9, strict=True).restored == 20
        assert unit.take_back("r1", 1, limit=99, strict=True).last
    assert unlike(dump, dumped(room)) == ""
    assert room.store.fingerprint(Everything(DB)) == prints


def test_what_the_queries_do_not_carry_is_caught_before_the_commit(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.stores.postgres.rewrite.afterwards", lambda conn, oid: [])
    dump = dumped(room)
    with pytest.raises(Refused, match="trigger keep is missing") as told:
        rewrite(room)
    assert "policy mine is missing" in str(told.value)
    assert unlike(dump, dumped(room)) == ""
