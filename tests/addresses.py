"""Where the servers of a test session are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from lockstep.embedded import s3


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the servers are, and how to reach them."""

    #: libpq conninfo of a database that may create others
    postgres: str = field(repr=False)
    mongo_uri: str = field(repr=False)
    s3_endpoint: str
    s3_access_key: str = s3.ACCESS_KEY
    s3_secret_key: str = field(default=s3.SECRET_KEY, repr=False)
    s3_region: str = s3.REGION
    #: whether the servers end with the session, and with them what tests leave there
    passing: bool = False
    #: how a database is made quickest: as files where they lie in memory, through the WAL where a disk is behind it
    strategy: str = "wal_log"
    #: where client programs are that fit the server; None for those on PATH
    pg_bin: Path | None = None

    @property
    def stays(self) -> bool:
        """Whether what a test leaves may lie there: it ends with the session, and takes no memory meanwhile."""
        return self.passing and self.strategy != "file_copy"

    def create_database(self, name: str) -> None:
        """Make a database, empty but for what the server itself puts there."""
        statement = SQL("CREATE DATABASE {} TEMPLATE template0 STRATEGY {}")
        with psycopg.connect(self.postgres, autocommit=True) as conn:
            conn.execute(statement.format(Identifier(name), Identifier(self.strategy)))

    def drop_database(self, name: str) -> None:
        """Remove a database with whoever is connected to it; one that is not there is fine."""
        with psycopg.connect(self.postgres, autocommit=True) as conn:
            conn.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))

    def postgres_uri(self, dbname: str) -> str:
        """Return the conninfo of a database."""
        return make_conninfo(self.postgres, dbname=dbname)

    def s3_client_kwargs(self) -> dict[str, str]:
        """Return the arguments of boto3.client("s3")."""
        return {
            "endpoint_url": self.s3_endpoint,
            "region_name": self.s3_region,
            "aws_access_key_id": self.s3_access_key,
            "aws_secret_access_key": self.s3_secret_key,
        }
