"""A backup goes into a scratch database beside the live one, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from independent import hash_postgres
from postgres_copies import Taken, backed_up, copied, scratch
from postgres_tables import DB, Room, emptied_room, fresh_database
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from addresses import Addresses
from lockstep.domain.errors import BackupNotProven, DataError, LockstepError, Refused, Unavailable
from lockstep.domain.resources import Everything, Table
from lockstep.stores.postgres import PostgresStore

NAME = "lockstep_scratch_test_of_scratch"
USERS = Table(DB, "users")

MAKE = """
CREATE TYPE mood AS ENUM ('happy', 'sad');
CREATE FUNCTION shouted(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper($1) $$;
CREATE TABLE teams (id serial PRIMARY KEY, name text UNIQUE);
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    team int NOT NULL REFERENCES teams,
    feels mood NOT NULL DEFAULT 'happy',
    name text,
    shout text GENERATED ALWAYS AS (upper(name)) STORED
);
CREATE INDEX users_shouted ON users (shouted(name));
CREATE TABLE posts (id int PRIMARY KEY, author bigint NOT NULL REFERENCES users);
INSERT INTO teams (name) VALUES ('a'), ('b');
INSERT INTO users (team, name) SELECT 1 + n % 2, 'n' || n FROM generate_series(1, 500) AS n;
INSERT INTO posts SELECT n, n FROM generate_series(1, 50) AS n;
"""


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(servers: Addresses, database: str) -> Iterator[Room]:
    with emptied_room(database, servers.pg_bin) as made:
        made.sql("DROP TYPE IF EXISTS mood")
        made.sql(MAKE)
        yield made


def at(room: Room, name: str) -> str:
    return make_conninfo(room.conninfo, dbname=name)


def test_everything_is_loaded_as_an_independent_witness_sees_it(room: Room) -> None:
    before = room.store.fingerprint(Everything(DB))
    with copied(room) as copy:
        assert copy.fingerprint(Everything(DB)) == before
        name = copy.check()["database"]
        assert name in room.store.scratches()
        assert hash_postgres(at(room, name)) == hash_postgres(room.conninfo)
        with copy.handle() as conn:
            # Statistics are there, so that plans are those of the live one.
            assert conn.execute(
                "SELECT reltuples FROM pg_class WHERE oid = 'users'::regclass"
            ).fetchone() == (500,)
            assert conn.execute("SHOW synchronous_commit").fetchone() == (
                room.value("SHOW synchronous_commit"),
            )
    assert name not in room.store.scratches()


def test_only_touched_tables_and_what_they_refer_to_have_rows(room: Room) -> None:
    before = room.store.fingerprint(USERS)
    with copied(room, USERS) as copy:
        assert copy.fingerprint(USERS) == before
        assert copy.count(Table(DB, "teams")) == 2
        assert copy.count(Table(DB, "posts")) == 0


def test_a_scratch_database_is_emptied_when_it_is_opened_again(room: Room) -> None:
    first = room.store.open_scratch(NAME)
    try:
        with first.handle() as conn:
            conn.execute("CREATE TABLE left_over (id int)")
        # First is connected still: whoever is in it is ended.
        second = room.store.open_scratch(NAME)
        assert second.tables() == ()
        assert room.store.scratches().count(NAME) == 1
        first.close()
        second.close()
    finally:
        room.store.drop_scratch(NAME)
    room.store.drop_scratch(NAME)
    assert NAME not in room.store.scratches()


def test_it_has_the_live_one_s_encoding_locale_and_settings(room: Room) -> None:
    live = room.value("SELECT current_database()")
    facts = "SELECT encoding, to_jsonb(d) - ARRAY['oid', 'datname', 'datdba', 'datacl', 'dattablespace', "
    facts += "'datfrozenxid', 'datminmxid', 'datconnlimit'] FROM pg_database d WHERE datname = %s"
    room.sql(f"ALTER DATABASE {live} SET search_path = 'Odd, \"name\"', public")
    room.sql(f"ALTER DATABASE {live} SET campus.tenant = 'a b'")
    try:
        room.store.close()
        with scratch(room) as copy, copy.handle() as conn:
            name = copy.check()["database"]
            assert room.sql(facts, [name]) == room.sql(facts, [live])
            shown = [
                conn.execute(f"SHOW {one}".encode()).fetchone() for one in ("search_path", "campus.tenant")
            ]
        assert shown == [room.sql("SHOW search_path")[0], ("a b",)]
    finally:
        room.sql(f"ALTER DATABASE {live} RESET ALL")
        room.store.close()


@pytest.mark.parametrize(
    "provider", ["LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'", "LC_COLLATE 'C' LC_CTYPE 'C'"]
)
def test_a_database_of_another_locale_is_copied_as_it_is(servers: Addresses, provider: str) -> None:
    name = "pg_of_another_locale"
    with psycopg.connect(servers.postgres, autocommit=True) as admin:
        if "builtin" in provider and admin.info.server_version < 170000:
            provider = "LC_COLLATE 'C' LC_CTYPE 'C'"
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {provider}".encode())
        try:
            store = PostgresStore(DB, servers.postgres_uri(name), pg_bin=servers.pg_bin)
            room = Room(store=store, conninfo=servers.postgres_uri(name))
            same = "SELECT datcollate, datctype, datlocprovider FROM pg_database WHERE datname = current_database()"
            with scratch(room) as copy, copy.handle() as conn:
                assert conn.execute(same.encode()).fetchall() == room.sql(same)
            store.close()
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.mark.parametrize("name", ["postgres", "campus_auth", "lockstep_scratch_", 'lockstep_scratch_"; DROP'])
def test_names_that_are_no_scratch_space_s_are_refused(room: Room, name: str) -> None:
    for ask in (room.store.open_scratch, room.store.drop_scratch):
        with pytest.raises(Refused, match="no name for a scratch space"):
            ask(name)


def test_a_scratch_space_does_not_make_or_drop_itself(room: Room) -> None:
    with scratch(room) as copy:
        name = copy.check()["database"]
        for ask in (copy.open_scratch, copy.drop_scratch):
            with pytest.raises(Refused, match="a live database's"):
                ask(name)
        assert name in room.store.scratches()


def test_a_role_that_may_not_create_databases_is_told_which_right_it_lacks(room: Room) -> None:
    room.sql("DROP ROLE IF EXISTS without_createdb")
    room.sql("CREATE ROLE without_createdb LOGIN PASSWORD 'x'")
    try:
        store = PostgresStore(DB, make_conninfo(room.conninfo, user="without_createdb", password="x"))
        with pytest.raises(Refused, match="CREATEDB") as caught:
            store.open_scratch(NAME)
        assert caught.value.fields["right"] == "CREATEDB"
        assert "proof = checksum" in str(caught.value)
        store.close()
        assert NAME not in room.store.scratches()
    finally:
        room.sql("DROP ROLE without_createdb")


def test_a_flipped_byte_is_named_wherever_it_is(room: Room) -> None:
    taken = backed_up(room.store)
    for place in range(0, len(taken.body), len(taken.body) // 7):
        body = bytearray(taken.body)
        body[place] ^= 0x40
        with (
            pytest.raises(BackupNotProven, match=taken.files[0].path) as caught,
            scratch(room, Taken(taken.files, bytes(body))),
        ):
            pass
        assert caught.value.fields["path"] == taken.files[0].path


def test_an_archive_that_was_cut_off_is_named(room: Room) -> None:
    taken = backed_up(room.store)
    with (
        pytest.raises(BackupNotProven, match=rf"{taken.files[0].path}.*{len(taken.body) // 2} bytes"),
        scratch(room, Taken(taken.files, taken.body[: len(taken.body) // 2])),
    ):
        pass


def test_what_pg_restore_says_is_quoted(room: Room) -> None:
    taken = backed_up(room.store)
    with copied(room) as copy, pytest.raises(Refused, match=r"pg_restore .* already exists.*is not whole"):
        copy.load(taken.files, taken.read)


def test_a_backup_without_an_archive_is_refused(room: Room) -> None:
    with scratch(room) as copy, pytest.raises(DataError, match="one archive, and this one has 0"):
        copy.load([], lambda path: iter(()))


def test_a_vault_that_fails_midway_ends_pg_restore(room: Room) -> None:
    taken = backed_up(room.store)

    def read(path: str) -> Iterator[bytes]:
        yield taken.body[:100]
        raise Unavailable("the vault went away")

    with scratch(room) as copy:
        with pytest.raises(Unavailable, match="went away"):
            copy.load(taken.files, read)
        assert copy.tables() == ()
        sessions = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name <> 'lockstep'"
        )
        name = copy.check()["database"]
        assert room.sql(sessions, [name]) == [(0,)]


def fake(folder: Path, version: str, does: str) -> None:
    program = folder / "pg_restore"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "pg_restore (PostgreSQL) {version}" && exit 0\n{does}\n'
    )
    program.chmod(0o700)


def test_a_pg_restore_that_ends_early_is_quoted_and_the_archive_is_read_to_its_end(
    room: Room, tmp_path: Path
) -> None:
    body = b"x" * 3_000_000
    taken = backed_up(room.store)
    fake(tmp_path, "99.2", "echo no use for it >&2\nexit 3")
    file = replace(taken.files[0], size=len(body), sha256="0" * 64)
    with scratch(room) as copy:
        store = PostgresStore(DB, at(room, copy.check()["database"]), pg_bin=tmp_path)
        with pytest.raises(BackupNotProven, match="3000000 bytes"):
            store.load([file], Taken([file], body).read)
        with pytest.raises(LockstepError, match=r"code 3.*no use for it"):
            store.load(taken.files, taken.read)
        store.close()


def test_the_password_is_in_no_command_line(room: Room, tmp_path: Path) -> None:
    password = conninfo_to_dict(room.conninfo).get("password")
    told = tmp_path / "told"
    fake(tmp_path, "99.3", f'printf "%s\\n" "$@" >> {told}\ncat > /dev/null')
    store = PostgresStore(DB, room.conninfo, pg_bin=tmp_path)
    taken = backed_up(room.store)
    store.load(taken.files, taken.read)
    assert "--exit-on-error" in told.read_text()
    assert "synchronous_commit=off" in told.read_text()
    assert password is None or str(password) not in told.read_text()
    store.close()


def test_a_pg_restore_older_than_the_server_is_refused(room: Room, tmp_path: Path) -> None:
    fake(tmp_path, "9.6.24", "exit 1")
    store = PostgresStore(DB, room.conninfo, pg_bin=tmp_path)
    taken = backed_up(room.store)
    with pytest.raises(Refused, match=r"pg_restore 9\.6\.24.*must not be older"):
        store.load(taken.files, taken.read)
    store.close()
