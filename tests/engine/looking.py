"""Services that only look at a world, as a dry run's do, and the servers' own word on whether anything changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import psycopg
import pymongo
from bson import encode
from driver import Driver
from world import World

from lockstep.domain.environment import DEFAULT, Environment
from lockstep.domain.resources import Bucket, Database, Mongo, Postgres
from lockstep.engine.services import Services, Store
from lockstep.stores.ledger.looking import LookingLedger
from lockstep.stores.lookers import looker
from lockstep.stores.mongo.store import MongoStore
from lockstep.stores.postgres.store import PostgresStore
from lockstep.stores.s3.store import S3Store
from lockstep.stores.vault.looking import LookingVault


def read_only(world: World, **uris: str) -> Callable[[Database], Store]:
    """Return what opens the world's stores to be read; `uris`: connection id → another address."""

    @cache
    def stores(database: Database) -> Store:
        if isinstance(database, Postgres):
            usual = world.api_uri if database.conn_id == "campus_api" else world.auth_uri
            uri = uris.get(database.conn_id, usual)
            return PostgresStore(database, uri, pg_bin=world.pg_bin, read_only=True)
        if isinstance(database, Mongo):
            uri = uris.get(database.conn_id, world.mongo_uri)
            return MongoStore(database, uri, world.mongo_db, read_only=True)
        assert isinstance(database, Bucket)
        return S3Store(database, world.s3_kwargs, world.bucket, read_only=True)

    return stores


def looking(driver: Driver, world: World, environment: Environment = DEFAULT) -> Services:
    """Return services by which nothing can be written."""
    return replace(
        driver.services(driver.bomb),
        ledger=LookingLedger(world.ledger_uri),
        vault=LookingVault(world.s3_kwargs, world.vault),
        stores=read_only(world),
        environment=environment,
    )


def look(world: World, **uris: str) -> Callable[[Database], Any]:
    """Return what looks at the world's databases."""
    stores = read_only(world, **uris)
    return cache(lambda database: looker(database, stores(database)))


@dataclass(frozen=True)
class Witness:
    """What the servers say of themselves: equal where nobody has written."""

    #: the next transaction id of the whole server, and the position in its write-ahead log
    next_xid: str
    wal: str
    documents: tuple[tuple[str, str, int, str], ...]
    objects: tuple[tuple[str, str, str, str], ...]


@contextmanager
def quiet(world: World) -> Iterator[None]:
    """Keep the server from vacuuming and analyzing by itself for the length of a block."""
    with psycopg.connect(world.ledger_uri, autocommit=True) as conn:
        if conn.execute("SHOW autovacuum").fetchone() == ("off",):
            # So are a session's own servers; what keeps them so is not to be taken back here.
            yield
            return
        conn.execute("ALTER SYSTEM SET autovacuum = off")
        conn.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            conn.execute("ALTER SYSTEM RESET autovacuum")
            conn.execute("SELECT pg_reload_conf()")


def unchanged(world: World, do: Callable[[], None], *, settled: bool = False) -> None:
    """Do something, and see by the servers' own counters that it wrote nothing.

    Transaction ids, documents and objects are the same each time. The server logs a snapshot of its own now and then, so
    the position in its write-ahead log has to be the same once out of a few times.
    """
    for _ in range(4):
        if not settled:
            settle(world)
        before = witness(world)
        do()
        after = witness(world)
        assert replace(after, wal="") == replace(before, wal="")
        if after.wal == before.wal:
            return
    raise AssertionError("the write-ahead log moved each time")


def settle(world: World) -> None:
    """Let the server do at once what it would do in the background: reads find nothing to tidy up."""
    for uri in (world.auth_uri, world.api_uri, world.ledger_uri):
        with psycopg.connect(uri, autocommit=True) as conn:
            conn.execute("VACUUM")
            conn.execute("CHECKPOINT")


def witness(world: World) -> Witness:
    with psycopg.connect(world.ledger_uri, autocommit=True) as conn:
        row = conn.execute(
            "SELECT pg_snapshot_xmax(pg_current_snapshot())::text, pg_current_wal_insert_lsn()::text"
        ).fetchone()
    assert row is not None
    with pymongo.MongoClient[dict[str, Any]](world.mongo_uri) as client:
        documents = tuple(
            (name, one, *_hash(client[name][one].find()))
            for name in sorted(client.list_database_names())
            if name.startswith((world.mongo_db, "lockstep"))
            for one in sorted(client[name].list_collection_names())
        )
    objects = tuple(
        (bucket, item["Key"], item["ETag"], item["LastModified"].isoformat())
        for bucket in (world.bucket, world.vault)
        for page in world.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        for item in page.get("Contents", [])
    )
    return Witness(row[0], row[1], documents, objects)


def _hash(found: Any) -> tuple[int, str]:
    listed = sorted(encode(document) for document in found)
    return len(listed), hashlib.sha256(b"".join(listed)).hexdigest()
