"""Object stores over a bucket of their own: on the whole of it, or confined to a scratch space."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lockstep.domain.resources import Bucket
from lockstep.stores.s3 import S3Store

BUCKET = "the bucket"
SCRATCH = "a scratch space"
NAME = "lockstep_scratch_t"


@contextmanager
def a_store(database: Bucket, kwargs: dict[str, str], where: str = BUCKET) -> Iterator[S3Store]:
    """Make a bucket and a store over it or over a scratch space in it; remove all of it in the end."""
    bucket = f"test-{uuid.uuid4().hex}"
    made = S3Store(database, kwargs, bucket)
    client, _ = made.handle()
    client.create_bucket(Bucket=bucket)
    try:
        if where == SCRATCH:
            within = made.open_scratch(NAME)
            yield within
            within.close()
            outside = [key for key in keys_in(client, bucket) if not key.startswith(root_of(within))]
            assert outside == [], "a store that is confined has written elsewhere"
        else:
            yield made
    finally:
        for key in keys_in(client, bucket):
            client.delete_object(Bucket=bucket, Key=key)
        client.delete_bucket(Bucket=bucket)
        made.close()


def root_of(store: S3Store) -> str:
    return store._connection.root


def keys_in(client: Any, bucket: str) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [item["Key"] for page in pages for item in page.get("Contents", ())]


def longest(prefix: str, store: S3Store, letter: str) -> str:
    """Return a key of as many bytes as the store takes."""
    room = 1024 - len(root_of(store)) - len(prefix)
    return prefix + letter * (room // len(letter.encode()))
