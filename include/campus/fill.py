"""Store Campus's data in empty servers; leave a store alone that is filled already."""

import argparse
import dataclasses
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import boto3
import psycopg
from botocore.config import Config
from psycopg import sql
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError

from campus import data
from campus.shapes import Document, Size, Upload
from campus.tables import AUTH, SUBSCRIBED, SUBSCRIBERS, YAPPER

BUCKET = "campus"
PREFIX = "uploads/"
MONGO_BATCH = 1000
UPLOADERS = 8
DUPLICATE = 11000


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Say where Campus's stores are."""

    auth_uri: str
    yapper_uri: str
    mongo_uri: str
    s3_client: Any
    mongo_database: str = "campus"
    bucket: str = BUCKET


@dataclass(frozen=True, kw_only=True)
class Filled:
    """Say what was stored; None for a store that had been filled before."""

    users: int | None
    sessions: int | None
    submissions: int | None
    uploads: int | None
    subscriptions: int | None

    def lines(self) -> list[str]:
        """Return one line for each kind of thing."""
        return [
            f"{name}: {'left alone, filled already' if count is None else f'{count} stored'}"
            for name, count in dataclasses.asdict(self).items()
        ]


def fill(targets: Targets, size: Size = Size()) -> Filled:  # noqa: B008
    """Fill every store that is not filled yet, and say what was done."""
    with ThreadPoolExecutor() as pool:
        submissions = pool.submit(fill_submissions, targets.mongo_uri, targets.mongo_database, size)
        uploads = pool.submit(fill_uploads, targets.s3_client, targets.bucket, size)
        users, sessions = fill_auth(targets.auth_uri, size) or (None, None)
        return Filled(
            users=users,
            sessions=sessions,
            submissions=submissions.result(),
            uploads=uploads.result(),
            subscriptions=fill_yapper(targets.yapper_uri),
        )


def fill_auth(uri: str, size: Size) -> tuple[int, int] | None:
    """Create and fill users and sessions, in one transaction."""
    with psycopg.connect(uri) as connection:
        if _has_table(connection, "users"):
            return None
        connection.execute(AUTH)
        return (
            _copy(connection, "users", (dataclasses.astuple(row) for row in data.users(size))),
            _copy(connection, "sessions", (dataclasses.astuple(row) for row in data.sessions(size))),
        )


def fill_yapper(uri: str) -> int | None:
    """Create Yapper's tables and subscribe its two listeners, in one transaction."""
    with psycopg.connect(uri) as connection:
        if _has_table(connection, "events"):
            return None
        connection.execute(YAPPER)
        pairs = [(client, label) for client in SUBSCRIBERS for label in SUBSCRIBED]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO subscriptions (client_id, label) VALUES (%s, %s)", pairs)
        return len(pairs)


def fill_submissions(uri: str, database: str, size: Size) -> int | None:
    """Insert the submissions; the absence of the last one shows a filling that was interrupted."""
    client: MongoClient[Document]
    with MongoClient(uri, tz_aware=True) as client:
        collection: Collection[Document] = client[database]["submissions"]
        there = collection.estimated_document_count()
        if there >= size.submissions or (there and _has_last(collection, size)):
            return None
        # One worker: it inserts in order, while this thread makes the batches that follow.
        with ThreadPoolExecutor(1) as pool:
            for _ in pool.map(
                partial(_insert_missing, collection), _batches(data.submissions(size), MONGO_BATCH)
            ):
                pass
        return size.submissions - there


def _has_last(collection: Collection[Document], size: Size) -> bool:
    (last,) = deque(data.submissions(size), maxlen=1)
    return collection.find_one({"_id": last["_id"]}) is not None


def _insert_missing(collection: Collection[Document], batch: list[Document]) -> None:
    try:
        collection.insert_many(batch, ordered=False)
    except BulkWriteError as error:
        if any(one["code"] != DUPLICATE for one in error.details["writeErrors"]):
            raise


def fill_uploads(client: Any, bucket: str, size: Size) -> int | None:
    """Put the uploads; the last one last, so that its presence says that the others are there."""
    made = list(data.uploads(size))
    if not made or _bucket_is_filled(client, bucket, made[-1].key):
        return None

    def put(upload: Upload) -> None:
        client.put_object(
            Bucket=bucket,
            Key=upload.key,
            Body=upload.body,
            ContentType=upload.content_type,
            Metadata=dict(upload.metadata),
        )

    with ThreadPoolExecutor(UPLOADERS) as pool:
        for _ in pool.map(put, made[:-1]):
            pass
    put(made[-1])
    return len(made)


def _bucket_is_filled(client: Any, bucket: str, last: str) -> bool:
    """Tell whether the last upload is there, or a revision has moved what was."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [one["Key"] for page in pages for one in page.get("Contents", ())]
    return last in keys or any(not key.startswith(PREFIX) for key in keys)


def _has_table(connection: psycopg.Connection[Any], name: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [f"public.{name}"]).fetchone()
    return row is not None and bool(row[0])


def _copy(connection: psycopg.Connection[Any], table: str, rows: Iterable[tuple[Any, ...]]) -> int:
    count = 0
    with (
        connection.cursor() as cursor,
        cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy,
    ):
        for row in rows:
            copy.write_row(row)
            count += 1
    return count


def _batches(documents: Iterable[Document], size: int) -> Iterator[list[Document]]:
    source = iter(documents)
    while batch := list(islice(source, size)):
        yield batch


def main(argv: list[str] | None = None) -> None:
    """Fill the stores that the options name."""
    parser = argparse.ArgumentParser(prog="python -m campus.fill", description=__doc__)
    for store in ("auth", "yapper"):
        parser.add_argument(
            f"--{store}", required=True, metavar="URI", help=f"PostgreSQL URI of campus_{store}"
        )
    parser.add_argument("--mongo", required=True, metavar="URI", help="MongoDB URI")
    parser.add_argument("--mongo-database", default="campus")
    parser.add_argument(
        "--s3-endpoint", required=True, metavar="URL", help="credentials come from AWS_* variables"
    )
    parser.add_argument("--s3-region", default="us-east-1")
    parser.add_argument("--bucket", default=BUCKET)
    for field in dataclasses.fields(Size):
        parser.add_argument(f"--{field.name}", type=int, default=field.default)
    options = parser.parse_args(argv)
    client = boto3.client(
        "s3",
        endpoint_url=options.s3_endpoint,
        region_name=options.s3_region,
        config=Config(max_pool_connections=UPLOADERS),
    )
    targets = Targets(
        auth_uri=options.auth,
        yapper_uri=options.yapper,
        mongo_uri=options.mongo,
        mongo_database=options.mongo_database,
        s3_client=client,
        bucket=options.bucket,
    )
    size = Size(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Size)})
    sys.stdout.write("\n".join(fill(targets, size).lines()) + "\n")


if __name__ == "__main__":
    main()
