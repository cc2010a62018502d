"""What a plan and its checks see of a database, without writing: one file a kind of store."""

from __future__ import annotations

from lockstep.domain.resources import Database
from lockstep.stores.lookers.mongo import MongoLooker
from lockstep.stores.lookers.postgres import PostgresLooker
from lockstep.stores.lookers.s3 import S3Looker
from lockstep.stores.mongo.store import MongoStore
from lockstep.stores.postgres.store import PostgresStore
from lockstep.stores.s3.store import S3Store


def looker(database: Database, store: object) -> PostgresLooker | MongoLooker | S3Looker:
    """Return what looks at a database through its store."""
    if isinstance(store, PostgresStore):
        return PostgresLooker(store)
    if isinstance(store, MongoStore):
        return MongoLooker(store)
    if isinstance(store, S3Store):
        return S3Looker(store)
    raise TypeError(f"nothing looks at {database!r} through {store!r}")


__all__ = ["MongoLooker", "PostgresLooker", "S3Looker", "looker"]
