"""The objects that are changed, and how their content is compared."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

PREFIX = "uploads/"
CONTENT_TYPE = "application/json"
#: items of an object: about eight kilobytes
ITEMS = 120
THREADS = 8

Item = tuple[str, bytes, Mapping[str, str]]


def objects(count: int) -> Iterator[Item]:
    """Make the same objects each time: key, body, metadata."""
    chance = random.Random(23)
    for number in range(count):
        items = [
            {"item": place, "points": chance.randrange(100), "label": f"{chance.getrandbits(64):016x}"}
            for place in range(ITEMS)
        ]
        body = json.dumps({"number": number, "items": items}).encode()
        yield f"{PREFIX}{number:06}.json", body, {"owner": f"s{number % 97:03}"}


def fill(client: Any, bucket: str, count: int) -> None:
    """Store the objects in an empty bucket."""

    def put(item: Item) -> None:
        key, body, metadata = item
        client.put_object(
            Bucket=bucket, Key=key, Body=body, ContentType=CONTENT_TYPE, Metadata=dict(metadata)
        )

    with ThreadPoolExecutor(max_workers=THREADS) as workers:
        for _ in workers.map(put, objects(count)):
            pass


def content(client: Any, bucket: str) -> tuple[int, str]:
    """Return how many objects there are below the prefix, and a hash of all that they hold."""
    keys = [
        one["Key"]
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=PREFIX)
        for one in page.get("Contents", [])
    ]

    def get(key: str) -> tuple[str, bytes, str, Mapping[str, str]]:
        found = client.get_object(Bucket=bucket, Key=key)
        return key, found["Body"].read(), found["ContentType"], found["Metadata"]

    with ThreadPoolExecutor(max_workers=THREADS) as workers:
        return _hash(workers.map(get, sorted(keys)))


def wanted(count: int) -> tuple[int, str]:
    """Return the same of what the objects are to become."""
    return _hash((key, _added_up(body), CONTENT_TYPE, metadata) for key, body, metadata in objects(count))


def _added_up(body: bytes) -> bytes:
    found = json.loads(body)
    return json.dumps({**found, "total": sum(item["points"] for item in found["items"])}).encode()


def _hash(found: Iterator[tuple[str, bytes, str, Mapping[str, str]]]) -> tuple[int, str]:
    digest, count = hashlib.sha256(), 0
    for key, body, content_type, metadata in found:
        digest.update(repr((key, len(body), content_type, sorted(metadata.items()))).encode())
        digest.update(body)
        count += 1
    return count, digest.hexdigest()
