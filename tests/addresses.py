"""Where the servers of a test session are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from psycopg.conninfo import make_conninfo

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
    #: where client programs are that fit the server; None for those on PATH
    pg_bin: Path | None = None

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
