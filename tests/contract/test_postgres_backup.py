"""A backup is an archive that stock pg_restore takes into an empty database without an error."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from addresses import Addresses
from lockstep.domain.errors import LockstepError, Refused
from lockstep.domain.resources import Everything, Table
from lockstep.stores.postgres import PostgresStore
from lockstep.stores.postgres.dump import CHUNK

USERS = Table(DB, "users")
TEAMS = Table(DB, "teams")
LOGS = Table(DB, "logs")

MAKE = """
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM count(*) FROM public.teams; NEW.touched := true; RETURN NEW; END $$;
CREATE TABLE countries (id text PRIMARY KEY);
CREATE TABLE teams (id serial PRIMARY KEY, name text UNIQUE, country text REFERENCES countries);
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team int NOT NULL REFERENCES teams,
    boss bigint REFERENCES users,
    feels mood NOT NULL DEFAULT 'happy',
    mail email,
    touched bool,
    shout text GENERATED ALWAYS AS (upper(mail)) STORED
);
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE posts (id int PRIMARY KEY, author bigint NOT NULL REFERENCES users);
CREATE TABLE "odd ""name"".*" (id int PRIMARY KEY);
CREATE TABLE logs (id int, day date) PARTITION BY RANGE (day);
CREATE TABLE logs_old PARTITION OF logs FOR VALUES FROM ('2020-01-01') TO ('2024-01-01');
CREATE TABLE logs_new PARTITION OF logs FOR VALUES FROM ('2024-01-01') TO ('2030-01-01');
CREATE VIEW happy AS SELECT * FROM users WHERE feels = 'happy';
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM posts;
INSERT INTO countries VALUES ('eg'), ('is');
INSERT INTO teams (name, country) VALUES ('a', 'eg'), ('b', 'is');
INSERT INTO users (team, boss, mail) SELECT 1 + n % 2, nullif(n, 1) / 2, 'u' || n || '@x'
FROM generate_series(1, 50) AS n;
INSERT INTO posts SELECT n, n FROM generate_series(1, 50) AS n;
INSERT INTO "odd ""name"".*" VALUES (1);
INSERT INTO logs SELECT n, '2023-01-01'::date + 100 * n FROM generate_series(1, 8) AS n;
"""


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(servers: Addresses, database: str) -> Iterator[Room]:
    with emptied_room(database, servers.pg_bin) as made:
        made.sql("DROP TYPE IF EXISTS mood; DROP DOMAIN IF EXISTS email")
        made.sql(MAKE)
        yield made


@pytest.fixture
def empty(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


def taken(room: Room, folder: Path, *touched: Table | Everything) -> tuple[Path, int | None]:
    """Take a backup into a folder; return the archive, and what it says it counted."""
    (part,) = room.store.backup(touched)
    assert part.name == conninfo_to_dict(room.conninfo)["dbname"] + ".dump"
    archive = folder / "backup.dump"
    with archive.open("wb") as out:
        for chunk in part.chunks():
            assert 0 < len(chunk) <= CHUNK
            out.write(chunk)
    return archive, part.count()


def restore(archive: Path, conninfo: str, pg_bin: Path | None) -> PostgresStore:
    """Run stock pg_restore into an empty database; it must not complain about anything."""
    address = conninfo_to_dict(conninfo)
    command = [str(pg_bin / "pg_restore") if pg_bin else "pg_restore", "--exit-on-error", "--no-password"]
    command += [
        f"--dbname={make_conninfo(**{k: v for k, v in address.items() if k != 'password'})}",
        str(archive),
    ]
    environment = {**os.environ, "PGPASSWORD": str(address.get("password", ""))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return PostgresStore(DB, conninfo)


def test_touched_tables_come_back_equal_and_the_rest_is_there_without_rows(
    room: Room, tmp_path: Path, empty: str
) -> None:
    with room.unit() as unit:
        unit.insert_missing(TEAMS, [{"id": 9, "name": "journaled"}])
    archive, count = taken(room, tmp_path, USERS)
    assert count == 50
    restored = restore(archive, empty, room.pg_bin)
    for name in ("users", "teams", "countries"):
        table = Table(DB, name)
        assert restored.fingerprint(table) == room.store.fingerprint(table)
    assert {table.slug for table in restored.tables()} == {table.slug for table in room.store.tables()}
    assert restored.count(Table(DB, "posts")) == 0
    assert restored.count(Table(DB, 'odd "name".*')) == 0
    assert restored.count(LOGS) == 0
    assert restored.fingerprint(LOGS)["logs"].shape == room.store.fingerprint(LOGS)["logs"].shape
    with restored.handle() as conn:
        assert conn.execute("SELECT to_regnamespace('lockstep_state'), count(*) FROM happy").fetchone() == (
            None,
            50,
        )
        conn.execute("INSERT INTO users (team, mail) VALUES (1, 'new@x')")
        assert conn.execute("SELECT max(id) FROM users").fetchone() == (51,)
    restored.close()


def test_everything_comes_back_equal(room: Room, tmp_path: Path, empty: str) -> None:
    archive, count = taken(room, tmp_path, Everything(DB))
    assert count == 2 + 2 + 50 + 50 + 1 + 8
    restored = restore(archive, empty, room.pg_bin)
    assert restored.fingerprint(Everything(DB)) == room.store.fingerprint(Everything(DB))
    restored.close()


def test_a_partitioned_table_comes_back_with_its_parts(room: Room, tmp_path: Path, empty: str) -> None:
    archive, count = taken(room, tmp_path, LOGS, Table(DB, 'odd "name".*'))
    assert count == 9
    restored = restore(archive, empty, room.pg_bin)
    assert restored.fingerprint(LOGS) == room.store.fingerprint(LOGS)
    assert restored.count(Table(DB, 'odd "name".*')) == 1
    assert restored.count(USERS) == 0
    restored.close()


def test_a_table_that_does_not_exist_yet_is_simply_not_in_it(room: Room, tmp_path: Path, empty: str) -> None:
    archive, count = taken(room, tmp_path, Table(DB, "not_yet"))
    assert count == 0
    restored = restore(archive, empty, room.pg_bin)
    assert restored.count(USERS) == 0
    restored.close()


def test_what_refers_to_a_parked_table_can_still_be_restored(room: Room, tmp_path: Path, empty: str) -> None:
    with room.unit() as unit:
        unit.park_table(Table(DB, "countries"))
        unit.park_table(Table(DB, "posts"))
    archive, _ = taken(room, tmp_path, TEAMS)
    restored = restore(archive, empty, room.pg_bin)
    assert restored.count(TEAMS) == 2
    restored.close()


def test_parked_columns_are_in_it(room: Room, tmp_path: Path, empty: str) -> None:
    with room.unit() as unit:
        unit.park_column(TEAMS, "name")
    archive, _ = taken(room, tmp_path, TEAMS)
    restored = restore(archive, empty, room.pg_bin)
    assert restored.fingerprint(TEAMS) == room.store.fingerprint(TEAMS)
    with restored.handle() as conn:
        columns = (
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'teams'::regclass AND attname ~ '^_lockstep'"
        )
        assert conn.execute(columns).fetchone() == (1,)
    restored.close()


def test_it_holds_one_moment_whatever_is_written_meanwhile(room: Room, tmp_path: Path, empty: str) -> None:
    room.sql("INSERT INTO posts SELECT n, 1 FROM generate_series(100, 100000) AS n")
    before = room.store.fingerprint(Everything(DB))
    (part,) = room.store.backup([Everything(DB)])
    archive = tmp_path / "backup.dump"
    chunks = part.chunks()
    with archive.open("wb") as out:
        out.write(next(chunks))
        room.sql("INSERT INTO posts VALUES (99, 1)")
        for chunk in chunks:
            out.write(chunk)
    assert part.count() == sum(found.count for found in before.values())
    restored = restore(archive, empty, room.pg_bin)
    assert restored.fingerprint(Everything(DB)) == before
    restored.close()


def test_a_consumer_that_stops_ends_pg_dump_and_its_session(room: Room) -> None:
    room.sql("INSERT INTO posts SELECT n, 1 FROM generate_series(100, 300000) AS n")
    (part,) = room.store.backup([Everything(DB)])
    chunks = part.chunks()
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    # Neither pg_dump's session nor the fingerprint that is taken meanwhile goes on.
    working = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND state = 'active' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(room.conninfo, autocommit=True) as conn:
        while conn.execute(working).fetchone() != (0,):
            pass
    assert room.store.count(Table(DB, "posts")) > 250_000


def test_the_password_is_in_no_command_line(room: Room, tmp_path: Path) -> None:
    password = conninfo_to_dict(room.conninfo).get("password")
    told = tmp_path / "told"
    program = tmp_path / "pg_dump"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 99.1" && exit 0\n'
        f'printf "%s\\n" "$@" >> {told}\n'
        "printf archive\n"
    )
    program.chmod(0o700)
    store = PostgresStore(DB, room.conninfo, pg_bin=tmp_path)
    (part,) = store.backup([USERS])
    assert b"".join(part.chunks()) == b"archive"
    assert "--format=custom" in told.read_text()
    assert password is None or str(password) not in told.read_text()
    store.close()


def test_a_pg_dump_that_fails_is_quoted(room: Room, tmp_path: Path) -> None:
    program = tmp_path / "pg_dump"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 99.2" && exit 0\n'
        "printf half\n"
        "for n in $(seq 100); do echo complaint $n >&2; done\n"
        "exit 3\n"
    )
    program.chmod(0o700)
    store = PostgresStore(DB, room.conninfo, pg_bin=tmp_path)
    (part,) = store.backup([USERS])
    with pytest.raises(LockstepError, match=r"code 3.*complaint 100") as caught:
        list(part.chunks())
    assert "complaint 50 " not in str(caught.value)
    store.close()


def test_a_pg_dump_older_than_the_server_is_refused_naming_both(room: Room, tmp_path: Path) -> None:
    program = tmp_path / "pg_dump"
    program.write_text('#!/bin/sh\necho "pg_dump (PostgreSQL) 9.6.24"\n')
    program.chmod(0o700)
    store = PostgresStore(DB, room.conninfo, pg_bin=tmp_path)
    with pytest.raises(Refused, match=r"pg_dump 9\.6\.24") as caught:
        list(store.backup([USERS]))
    assert f"PostgreSQL {room.value('SHOW server_version')}" in str(caught.value)
    store.close()


def test_a_missing_pg_dump_is_refused(room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    store = PostgresStore(DB, room.conninfo)
    with pytest.raises(Refused, match="Install PostgreSQL's client programs"):
        list(store.backup([USERS]))
    store.close()
