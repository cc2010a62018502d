"""Measure a copy of a bucket, and take a sample of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from lockstep.domain.progress import KeyRange
from lockstep.domain.resources import Bucket, Prefix, Touched
from lockstep.stores.gauges.mongo import NoLocks, share_of
from lockstep.stores.s3.store import S3Store

#: keys listed at a time, as many as S3 deletes at once
PAGE = 1000


class S3Gauge:
    """A Gauge of one bucket; `store` works in the copy, and so does the client that it hands out."""

    def __init__(self, database: Bucket, store: S3Store) -> None:
        self._database = database
        self._store = store

    def size(self) -> Mapping[str, int]:
        client, bucket = self._store.handle()
        total = count = 0
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for item in page.get("Contents", []):
                total += int(item["Size"])
                count += 1
        return {"objects": total, "number of objects": count}

    @contextmanager
    def watching(self) -> Iterator[NoLocks]:
        yield NoLocks()

    def thin(self, percent: float, resources: Sequence[Touched]) -> tuple[Mapping[str, int], str]:
        kept: dict[str, int] = {}
        for prefix in (one for one in resources if isinstance(one, Prefix)):
            self._thin(prefix, percent)
            kept[prefix.slug] = self._store.count(prefix)
        return (
            kept,
            f"{percent:g} % of the objects of {len(kept)} prefix(es) by a hash of the key, each for itself",
        )

    def _thin(self, prefix: Prefix, percent: float) -> None:
        client, bucket = self._store.handle()
        after = None
        while True:
            page = self._store.keys(prefix, suffix="", within=KeyRange(), after=after, limit=PAGE)
            gone = [key for key in page.records if share_of(key) >= percent / 100]
            if gone:
                client.delete_objects(
                    Bucket=bucket, Delete={"Objects": [{"Key": key} for key in gone], "Quiet": True}
                )
            after = page.cursor
            if page.last:
                return
