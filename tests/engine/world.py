"""The engine over real stores: fresh databases, a collection and buckets for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pymongo
import pytest
from driver import Driver, PlainLog
from psycopg.conninfo import make_conninfo

from lockstep.domain.resources import Bucket, Database, Mongo, Postgres
from lockstep.engine.services import Services, Settings, Store
from lockstep.stores.ledger.ledger import PostgresLedger
from lockstep.stores.mongo.store import MongoStore
from lockstep.stores.postgres.store import PostgresStore
from lockstep.stores.s3.store import S3Store
from lockstep.stores.vault import S3Vault
from lockstep.stores.yapper import YapperSink

YAPPER = """
CREATE TABLE events (id bigserial PRIMARY KEY, label text NOT NULL, data text, created_at timestamp NOT NULL);
CREATE TABLE subscriptions (client_id text, label text, created_at timestamp, PRIMARY KEY (client_id, label));
CREATE TABLE unread (
    client_id text, label text, event_id bigint REFERENCES events (id),
    PRIMARY KEY (client_id, label, event_id),
    FOREIGN KEY (client_id, label) REFERENCES subscriptions (client_id, label)
);
INSERT INTO subscriptions
SELECT client, 'migration.' || what, now() FROM unnest(ARRAY['audit', 'ops']) client,
    unnest(ARRAY['started', 'backed_up', 'applied', 'rolled_back', 'failed']) what;
"""

#: settings of runs that are not about backups: small batches, and a proof that makes no database
QUICK: dict[str, Any] = {"batch_rows": 100, "batch_documents": 100, "batch_objects": 20, "proof": "checksum"}


@dataclass(frozen=True, kw_only=True)
class World:
    """What a test's revisions move, reached by plain drivers and not through Lockstep."""

    #: a database of the server that may create others
    admin_uri: str
    auth_uri: str
    api_name: str
    ledger_uri: str
    yapper_uri: str
    mongo_uri: str
    mongo_db: str
    s3_kwargs: dict[str, str]
    bucket: str
    vault: str
    migrations: Path
    pg_bin: Path | None

    @cached_property
    def api_uri(self) -> str:
        """The second database, made when it is first asked for: few tests need it, and each costs its time."""
        if not self._api_is_there():
            self.run(f"CREATE DATABASE {self.api_name} TEMPLATE template0", self.admin_uri)
        return make_conninfo(self.admin_uri, dbname=self.api_name)

    def rows(self, query: str, uri: str | None = None) -> list[Any]:
        with psycopg.connect(uri or self.auth_uri, autocommit=True) as conn:
            return conn.execute(query.encode()).fetchall()

    def run(self, statement: str, uri: str | None = None) -> None:
        with psycopg.connect(uri or self.auth_uri, autocommit=True) as conn:
            conn.execute(statement.encode())

    def status(self, revision: str) -> str:
        return str(
            self.rows(f"SELECT status FROM _migrations WHERE id = '{revision}'", self.ledger_uri)[0][0]
        )

    def labels(self) -> list[str]:
        """Return the events that reached Yapper, in order, without their prefix."""
        found = self.rows("SELECT label FROM events ORDER BY id", self.yapper_uri)
        return [label.removeprefix("migration.") for (label,) in found]

    @property
    def s3(self) -> Any:
        return _s3_client(os.getpid(), tuple(sorted(self.s3_kwargs.items())))

    def objects(self, prefix: str = "") -> dict[str, tuple[bytes, str, dict[str, str], dict[str, str]]]:
        """Return key → (body, content type, metadata, tags), Lockstep's own keys left out."""
        client, found = self.s3, {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                key = item["Key"]
                if key.startswith("_lockstep/"):
                    continue
                got = client.get_object(Bucket=self.bucket, Key=key)
                tags = client.get_object_tagging(Bucket=self.bucket, Key=key)["TagSet"]
                found[key] = (
                    got["Body"].read(),
                    got["ContentType"],
                    got["Metadata"],
                    {tag["Key"]: tag["Value"] for tag in tags},
                )
        return found

    def put(self, key: str, body: bytes, **more: Any) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)

    def documents(self, collection: str) -> list[dict[str, Any]]:
        with pymongo.MongoClient(self.mongo_uri) as client:
            return list(client[self.mongo_db][collection].find().sort("_id"))

    def insert(self, collection: str, documents: list[dict[str, Any]]) -> None:
        with pymongo.MongoClient(self.mongo_uri) as client:
            client[self.mongo_db][collection].insert_many(documents)

    def hashes(self) -> dict[str, str]:
        """Return the independent witness's hashes of all that the revisions may touch."""
        import independent

        # Without the second database, what an empty one has.
        there = self._api_is_there()
        return {
            "auth": independent.hash_postgres(self.auth_uri),
            "api": independent.hash_postgres(
                self.api_uri if there else self.admin_uri, None if there else []
            ),
            "mongo": independent.hash_mongo(self.mongo_uri, self.mongo_db),
            "s3": independent.hash_s3(self.s3_kwargs, self.bucket, ""),
        }

    def _api_is_there(self) -> bool:
        return bool(self.rows(f"SELECT FROM pg_database WHERE datname = '{self.api_name}'", self.admin_uri))


@cache
def _s3_client(pid: int, given: tuple[tuple[str, str], ...]) -> Any:
    """Return the client of a process: to make one takes longer than a dozen requests."""
    return boto3.client("s3", **dict(given))


@pytest.fixture
def world(servers: Any, tmp_path: Path) -> Iterator[World]:
    with fresh_world(servers, tmp_path / "migrations") as made:
        yield made


@contextmanager
def fresh_world(servers: Any, migrations: Path) -> Iterator[World]:
    """Make databases, buckets and a folder of revisions; drop them where that frees memory, or others' servers."""
    mark = uuid.uuid4().hex[:10]
    names = {part: f"{part}_{mark}" for part in ("auth", "ledger", "yapper")}
    api = f"api_{mark}"
    for name in names.values():
        servers.create_database(name)
    migrations.mkdir()
    kwargs = servers.s3_client_kwargs()
    made = World(
        **{f"{part}_uri": servers.postgres_uri(name) for part, name in names.items()},
        admin_uri=servers.postgres,
        api_name=api,
        mongo_uri=servers.mongo_uri,
        mongo_db=f"campus_{mark}",
        s3_kwargs=kwargs,
        bucket=f"campus-{mark}",
        vault=f"vault-{mark}",
        migrations=migrations,
        pg_bin=servers.pg_bin,
    )
    for bucket in (made.bucket, made.vault):
        made.s3.create_bucket(Bucket=bucket)
    made.run(YAPPER, made.yapper_uri)
    yield made
    if servers.stays:
        return
    for name in (*names.values(), api):
        servers.drop_database(name)
    with pymongo.MongoClient(made.mongo_uri) as client:
        client.drop_database(made.mongo_db)


def factory_of(world: World, log: PlainLog, **settings: Any) -> Callable[[Callable[[str], None]], Services]:
    """Return what makes services over the world's stores; each store is asked once what its server can do."""

    @cache
    def stores(database: Database) -> Store:
        if isinstance(database, Postgres):
            uri = world.api_uri if database.conn_id == "campus_api" else world.auth_uri
            return PostgresStore(database, uri, pg_bin=world.pg_bin)
        if isinstance(database, Mongo):
            return MongoStore(database, world.mongo_uri, world.mongo_db)
        assert isinstance(database, Bucket)
        return S3Store(database, world.s3_kwargs, world.bucket)

    ledger = PostgresLedger(world.ledger_uri)
    vault = S3Vault(world.s3_kwargs, world.vault)
    sink = YapperSink(world.yapper_uri)

    def services(reached: Callable[[str], None]) -> Services:
        return Services(
            ledger=ledger,
            vault=vault,
            stores=stores,
            log=log,
            sinks=lambda: (sink,),
            settings=Settings(**{**QUICK, **settings}),
            reached=reached,
        )

    return services


@pytest.fixture
def driver(world: World) -> Driver:
    log = PlainLog()
    return Driver(
        services=factory_of(world, log, rows_per_shard=200, documents_per_shard=200, objects_per_shard=20),
        migrations=world.migrations,
        log=log,
    )
