"""Changing objects by Python: a pool of threads on one client, with and without keeping what was there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config

#: Objects at a time.
THREADS = 16
#: Where what was there is kept.
KEPT = "kept/"


def add_up(body: bytes) -> bytes:
    content = json.loads(body)
    content["total"] = sum(item["points"] for item in content["items"])
    return json.dumps(content).encode()


def pool(s3: Mapping[str, Any], bucket: str, prefix: str, *, keep: bool, threads: int = THREADS) -> int:
    """Get, change and put each object; `keep`: put what was there elsewhere first. Return how many."""
    client: Any = boto3.client("s3", **s3, config=Config(max_pool_connections=threads, tcp_keepalive=True))

    def change(key: str) -> None:
        found = client.get_object(Bucket=bucket, Key=key)
        body = found["Body"].read()
        same = {"Bucket": bucket, "ContentType": found["ContentType"], "Metadata": found["Metadata"]}
        if keep:
            client.put_object(**same, Key=KEPT + key, Body=body)
        client.put_object(**same, Key=key, Body=add_up(body))

    with ThreadPoolExecutor(max_workers=threads) as workers:
        return sum(1 for _ in workers.map(change, _keys(client, bucket, prefix)))


def _keys(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Contents", []):
            yield one["Key"]
