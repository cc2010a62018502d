"""What the page on restoring by hand says of PostgreSQL is done as it stands there, with stock programs alone."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from independent import hash_postgres
from postgres_tables import DB
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from lockstep.domain.resources import Everything
from lockstep.embedded import postgres
from lockstep.stores.postgres import PostgresStore
from replicated import primary

PAGE = Path(__file__).resolve().parents[2] / "docs" / "restore-by-hand.md"

MAKE = """
CREATE TABLE teams (id serial PRIMARY KEY, name text UNIQUE);
CREATE TABLE users (
    id serial PRIMARY KEY, team int REFERENCES teams, mail text NOT NULL CONSTRAINT users_mail_once UNIQUE,
    name text, shout text GENERATED ALWAYS AS (upper(name)) STORED
);
CREATE INDEX users_by_name ON users (lower(name));
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'nobody is to call me'; END $$;
CREATE TABLE posts (id int PRIMARY KEY, author int NOT NULL REFERENCES users ON DELETE CASCADE);
CREATE VIEW named_users AS SELECT id, name FROM users WHERE name IS NOT NULL;
INSERT INTO teams (name) VALUES ('a'), ('b');
INSERT INTO users (team, mail, name) SELECT 1 + n % 2, 'm' || n, 'n' || n FROM generate_series(1, 200) AS n;
INSERT INTO posts SELECT n, n FROM generate_series(1, 100) AS n;
CREATE TRIGGER tell AFTER INSERT OR DELETE ON users FOR EACH ROW EXECUTE FUNCTION tell();
GRANT SELECT ON users TO PUBLIC;
"""


def blocks(title: str) -> list[str]:
    """Return the commands of one section of the page."""
    section = PAGE.read_text().split(f"### {title}\n", 1)[1].split("\n##", 1)[0]
    found = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found
    return found


def follow(title: str, conninfo: str, folder: Path) -> None:
    """Do what a section says, against the server of a conninfo, in a folder where ./backup is."""
    address = conninfo_to_dict(conninfo)
    there = {
        "PGHOST": address["host"],
        "PGPORT": address["port"],
        "PGUSER": address["user"],
        "PGPASSWORD": address["password"],
    }
    path = f"{postgres.pg_bin()}{os.pathsep}{os.environ['PATH']}"
    for block in blocks(title):
        text = block
        for name, value in there.items():
            text = re.sub(rf"\b{name}=\S+", f"{name}={value}", text)
        script = f"set -eo pipefail\n{text}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=folder,
            env={"PATH": path, "HOME": str(folder), **{name: str(value) for name, value in there.items()}},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def live() -> Iterator[str]:
    """A server with the database that the page speaks of."""
    with primary() as admin:
        with psycopg.connect(admin, autocommit=True) as conn:
            conn.execute("CREATE DATABASE campus_auth TEMPLATE template0")
        conninfo = make_conninfo(admin, dbname="campus_auth")
        with psycopg.connect(conninfo, autocommit=True) as conn:
            conn.execute(MAKE.encode())
        yield conninfo


@pytest.fixture(scope="module")
def folder(live: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the backup in it, as it was downloaded from the vault."""
    folder = tmp_path_factory.mktemp("by_hand")
    store = PostgresStore(DB, live, pg_bin=postgres.pg_bin())
    (part,) = store.backup([Everything(DB)])
    archive = folder / "backup" / "campus_auth" / part.name
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"".join(part.chunks()))
    store.close()
    return folder


@pytest.fixture(scope="module")
def before(live: str, folder: Path) -> str:
    """What an independent witness saw when the backup was taken."""
    return hash_postgres(live)


def execute(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def value(conninfo: str, query: str) -> object:
    with psycopg.connect(conninfo, autocommit=True) as conn:
        row = conn.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_into_an_empty_server(folder: Path, before: str) -> None:
    with primary() as empty:
        follow("Into an empty server", empty, folder)
        restored = make_conninfo(empty, dbname="campus_auth")
        assert hash_postgres(restored) == before
        assert value(restored, "SELECT count(*) FROM named_users") == 200
        assert value(restored, "SELECT has_table_privilege('campus', 'users', 'UPDATE')") is True
        assert value(restored, "SELECT nextval('users_id_seq')") == 201


def test_rows_back_into_the_live_database(live: str, folder: Path, before: str) -> None:
    execute(
        live,
        "UPDATE users SET name = 'overwritten' WHERE id % 3 = 0",
        "ALTER TABLE users DISABLE TRIGGER tell",
        "DELETE FROM users WHERE id > 150",
        "INSERT INTO users (mail) VALUES ('new')",
        "ALTER TABLE users ENABLE TRIGGER tell",
    )
    assert hash_postgres(live) != before
    follow("Back into the live database: rows", live, folder)
    assert hash_postgres(live) == before
    assert value(live, "SELECT last_value FROM users_id_seq") == 200


def test_a_row_that_refers_to_nothing_is_named(live: str, folder: Path, before: str) -> None:
    execute(
        live,
        "ALTER TABLE users DISABLE TRIGGER tell",
        "INSERT INTO users (id, mail) VALUES (900, 'new')",
        "ALTER TABLE users ENABLE TRIGGER tell",
        "INSERT INTO posts VALUES (900, 900)",
    )
    with pytest.raises(AssertionError, match=r"Key \(author\)=\(900\) is not present"):
        follow("Back into the live database: rows", live, folder)
    execute(live, "DELETE FROM posts WHERE id = 900")
    follow("Back into the live database: rows", live, folder)
    assert hash_postgres(live) == before


def test_a_table_whose_shape_has_changed(live: str, folder: Path, before: str) -> None:
    execute(live, "ALTER TABLE users DROP COLUMN name CASCADE", "ALTER TABLE users ADD nick text DEFAULT 'x'")
    assert hash_postgres(live) != before
    follow("Back into the live database: a table whose shape has changed", live, folder)
    assert hash_postgres(live) == before
    assert value(live, "SELECT count(*) FROM named_users") == 200
    granted = "SELECT count(*) FROM aclexplode((SELECT relacl FROM pg_class WHERE relname = 'users')) WHERE grantee = 0"
    assert value(live, granted) == 1
