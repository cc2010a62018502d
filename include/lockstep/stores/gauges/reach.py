"""What it takes to open a copy once more, in another process: emptying it is what made it, so that is not done again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from lockstep.domain.resources import Bucket, Database, Mongo, Postgres
from lockstep.stores.mongo.connection import Connection as MongoConnection
from lockstep.stores.mongo.store import MongoStore
from lockstep.stores.postgres.store import PostgresStore
from lockstep.stores.s3.connection import Connection as S3Connection
from lockstep.stores.s3.store import S3Store

AnyStore = PostgresStore | MongoStore | S3Store


@dataclass(frozen=True, kw_only=True)
class Reach:
    """The way to one copy; pickled to the process that works in it, and written nowhere."""

    database: Database
    #: arguments of the store, passwords among them
    arguments: tuple[Any, ...] = field(repr=False)


def reach_of(store: AnyStore) -> Reach:
    """Return the way to the database that a store works in."""
    if isinstance(store, PostgresStore):
        own = (make_conninfo(**store._connector.params), str(store._pg_bin) if store._pg_bin else None)
        return Reach(database=store.database, arguments=own)
    connection: Any = store._connection
    if isinstance(store, MongoStore):
        return Reach(database=store.database, arguments=(connection._uri, connection.dbname))
    return Reach(
        database=store.database, arguments=(dict(connection._kwargs), connection.bucket, connection.root)
    )


def reached(reach: Reach) -> AnyStore:
    """Open a store on a copy that is there."""
    database = reach.database
    if isinstance(database, Postgres):
        conninfo, pg_bin = reach.arguments
        return PostgresStore(database, conninfo, pg_bin=Path(pg_bin) if pg_bin else None)
    if isinstance(database, Mongo):
        uri, dbname = reach.arguments
        mongo = MongoStore.__new__(MongoStore)
        mongo._take(MongoConnection(database, uri, dbname))
        return mongo
    assert isinstance(database, Bucket)
    kwargs, bucket, root = reach.arguments
    objects = S3Store.__new__(S3Store)
    objects._take(S3Connection(database, kwargs, bucket, root=root))
    return objects
