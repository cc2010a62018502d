"""A table with everything hanging on it that can be carried over, and how to tell whether all of it is there."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.resources import Table

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


@contextmanager
def database_with_roles(servers: Addresses) -> Iterator[str]:
    """Give a database on a server that has the roles to which things are granted."""
    with psycopg.connect(servers.postgres, autocommit=True) as admin:
        for role in ROLES:
            admin.execute(f"DROP ROLE IF EXISTS lockstep_{role}".encode())
            admin.execute(f"CREATE ROLE lockstep_{role}".encode())
    with fresh_database(servers) as made:
        yield made
    with psycopg.connect(servers.postgres, autocommit=True) as admin:
        for role in ROLES:
            admin.execute(f"DROP ROLE lockstep_{role}".encode())


@contextmanager
def heavy_room(database: str, servers: Addresses) -> Iterator[Room]:
    """Give a room with the table in it."""
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


def simple(room: Room, name: str = "plain", schema: str = "public", more: str = "") -> Table:
    """Make a table of three rows with a sequence, an index and a view of its own."""
    room.sql(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    room.sql(
        f'CREATE {more} TABLE "{schema}"."{name}" (id serial PRIMARY KEY, n int UNIQUE, "%" text);'
        f'INSERT INTO "{schema}"."{name}" (n) SELECT generate_series(1, 3);'
        f'CREATE VIEW "{schema}"."{name[:20]} seen" AS SELECT * FROM "{schema}"."{name}"'
    )
    return Table(DB, name, schema=schema)
