"""Databases and what lives in them, declared once and imported by revisions.

A database is named by the Airflow connection that opens it; a resource is a table, a collection or a
prefix in one database. Both are plain values: declaring one opens nothing.
"""

from __future__ import annotations

import re
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from lockstep.domain.errors import ResourceError

#: names that Lockstep keeps for itself in every store
RESERVED = "_lockstep"

_CONN_ID = re.compile(r"[A-Za-z0-9_.\-]{1,200}")


def _check_conn_id(conn_id: str) -> None:
    if not isinstance(conn_id, str) or not _CONN_ID.fullmatch(conn_id):
        raise ResourceError(
            f"{conn_id!r} is no Airflow connection id: use letters, digits, '_', '-' and '.'.",
            conn_id=conn_id,
        )


@dataclass(frozen=True)
class Postgres:
    """A PostgreSQL database, opened by the Airflow connection `conn_id` (type postgres)."""

    conn_id: str
    kind: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        _check_conn_id(self.conn_id)


@dataclass(frozen=True)
class Mongo:
    """A MongoDB database, opened by the Airflow connection `conn_id` (type mongo)."""

    conn_id: str
    kind: ClassVar[str] = "document"

    def __post_init__(self) -> None:
        _check_conn_id(self.conn_id)


@dataclass(frozen=True)
class Bucket:
    """An S3 bucket, opened by the Airflow connection `conn_id` (type aws).

    Without `bucket` its name comes from the connection's extra: `service_config.s3.bucket_name`.
    """

    conn_id: str
    bucket: str | None = None
    kind: ClassVar[str] = "object"

    def __post_init__(self) -> None:
        _check_conn_id(self.conn_id)


Database = Postgres | Mongo | Bucket


def _expect_database(resource: str, name: object, given: object, wanted: type) -> None:
    if not isinstance(given, wanted):
        raise ResourceError(
            f"{resource}({name!r}) needs a {wanted.__name__} database as its first argument, "
            f"got {type(given).__name__}.",
            name=name,
        )


def _refuse_reserved(resource: str, name: str) -> None:
    if name.startswith((RESERVED, "lockstep")):
        raise ResourceError(
            f"{resource} {name!r}: names that start with 'lockstep' or '{RESERVED}' are Lockstep's own.",
            name=name,
        )


@dataclass(frozen=True)
class Table:
    """A table of a PostgreSQL database, found in `schema`."""

    database: Postgres
    name: str
    _: KW_ONLY
    schema: str = "public"

    def __post_init__(self) -> None:
        _expect_database("Table", self.name, self.database, Postgres)
        for part in (self.name, self.schema):
            if not isinstance(part, str) or not part or "\0" in part or len(part.encode()) > 63:
                raise ResourceError(f"{part!r} is no PostgreSQL name: 1 to 63 bytes.", name=part)
            _refuse_reserved("Table", part)

    @property
    def slug(self) -> str:
        return self.name if self.schema == "public" else f"{self.schema}.{self.name}"

    def __str__(self) -> str:
        return f"table {self.slug} ({self.database.conn_id})"


@dataclass(frozen=True)
class Collection:
    """A collection of a MongoDB database."""

    database: Mongo
    name: str

    def __post_init__(self) -> None:
        _expect_database("Collection", self.name, self.database, Mongo)
        if not isinstance(self.name, str) or not self.name or "$" in self.name or "\0" in self.name:
            raise ResourceError(f"{self.name!r} is no MongoDB collection name.", name=self.name)
        _refuse_reserved("Collection", self.name)

    @property
    def slug(self) -> str:
        return self.name

    def __str__(self) -> str:
        return f"collection {self.name} ({self.database.conn_id})"


@dataclass(frozen=True)
class Prefix:
    """The objects of a bucket whose keys start with `name`, which ends in '/'."""

    database: Bucket
    name: str

    def __post_init__(self) -> None:
        _expect_database("Prefix", self.name, self.database, Bucket)
        if not isinstance(self.name, str) or not self.name.endswith("/") or self.name.startswith("/"):
            raise ResourceError(
                f"{self.name!r} is no prefix: it must end in '/' and not start with it, such as 'uploads/'.",
                name=self.name,
            )
        _refuse_reserved("Prefix", self.name)

    @property
    def slug(self) -> str:
        return self.name

    def __str__(self) -> str:
        return f"prefix {self.name} ({self.database.conn_id})"


Resource = Table | Collection | Prefix

KINDS: dict[type, str] = {Table: "Table", Collection: "Collection", Prefix: "Prefix"}


@dataclass(frozen=True)
class Everything:
    """All tables of a database: what an opaque statement touches unless it says otherwise."""

    database: Database

    @property
    def slug(self) -> str:
        return "*"

    def __str__(self) -> str:
        return f"everything in {self.database.conn_id}"


Touched = Table | Collection | Prefix | Everything
