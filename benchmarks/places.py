"""The servers that are measured against, and fresh places in them."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks import people
from benchmarks.children import ROOT
from benchmarks.people import Template
from lockstep.embedded.servers import Servers, running

#: Where servers keep their data: on the disk that the checkout is on, not on a /tmp that may be memory.
DATA = ROOT / ".lockstep"
#: The databases that the embedded servers' connections name.
ROWS = "campus_auth"
LEDGER = "campus_admin"
#: What the server is asked to say of itself.
ASKED = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_level",
    "shared_buffers",
    "maintenance_work_mem",
    "work_mem",
    "max_wal_size",
    "jit",
    "autovacuum",
)


@dataclass(frozen=True, kw_only=True)
class Places:
    """The servers of one benchmark."""

    servers: Servers
    root: Path
    _templates: dict[int, Template] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def admin(self) -> str:
        return self.servers.postgres_uri("postgres")

    @property
    def rows_uri(self) -> str:
        return self.servers.postgres_uri(ROWS)

    @property
    def ledger_uri(self) -> str:
        return self.servers.postgres_uri(LEDGER)

    @property
    def s3_kwargs(self) -> dict[str, Any]:
        return {
            "endpoint_url": self.servers.s3_endpoint,
            "region_name": self.servers.s3_region,
            "aws_access_key_id": self.servers.s3_access_key,
            "aws_secret_access_key": self.servers.s3_secret_key,
        }

    @property
    def s3(self) -> Any:
        return boto3.client("s3", **self.s3_kwargs)

    def name(self, prefix: str) -> str:
        """Return a name that nothing here has."""
        return f"{prefix}-{next(self._numbers)}"

    def template(self, rows: int) -> Template:
        """Return a database with a table of so many rows, made when it is first asked for."""
        if rows not in self._templates:
            dbname = f"template_{rows}"
            uri = self.servers.postgres_uri(dbname)
            self._templates[rows] = people.make_template(self.admin, uri, dbname, rows)
        return self._templates[rows]

    def forget(self, rows: int) -> None:
        """Drop a template that takes much room."""
        people.drop(self.admin, self._templates.pop(rows).dbname)

    def fresh_rows(self, rows: int) -> Template:
        """Put a fresh table of so many rows at `rows_uri`."""
        template = self.template(rows)
        people.fresh(self.admin, template, ROWS)
        return template

    def fresh_ledger(self) -> None:
        with psycopg.connect(self.admin, autocommit=True) as conn:
            conn.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(LEDGER)))
            conn.execute(SQL("CREATE DATABASE {}").format(Identifier(LEDGER)))

    @contextmanager
    def bucket(self) -> Iterator[str]:
        """Give a bucket for the length of a block."""
        name, client = self.name("bench"), self.s3
        client.create_bucket(Bucket=name)
        try:
            yield name
        finally:
            empty(client, name)
            client.delete_bucket(Bucket=name)
            client.close()

    def postgres_settings(self) -> dict[str, str]:
        with psycopg.connect(self.admin, autocommit=True) as conn:
            found = {}
            for name in ASKED:
                row = conn.execute("SELECT current_setting(%s)", [name]).fetchone()
                assert row is not None
                found[name] = str(row[0])
            return found


def empty(client: Any, bucket: str) -> None:
    """Delete all objects of a bucket."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        keys = [{"Key": one["Key"]} for one in page.get("Contents", [])]
        if keys:
            client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})


@contextmanager
def opened() -> Iterator[Places]:
    """Run PostgreSQL, the document server and the S3 server for the length of a block, in an empty folder."""
    DATA.mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="bench-", dir=DATA))
    root.chmod(0o755)  # PostgreSQL may run as another user
    try:
        with running(root) as servers:
            yield Places(servers=servers, root=root)
    finally:
        shutil.rmtree(root, ignore_errors=True)
