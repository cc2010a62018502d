"""Measure a copy of a MongoDB database, and take a sample of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lockstep.domain.rehearsal import HeldLock
from lockstep.domain.resources import Collection, Mongo, Touched
from lockstep.stores.mongo.store import MongoStore

#: documents deleted at a time
BATCH = 1000
#: what dbStats answers → what it is called here
SIZES = {"dataSize": "data", "indexSize": "indexes", "storageSize": "storage"}


class NoLocks:
    """A LockLog of a server that has none to show."""

    def held(self) -> list[HeldLock]:
        return []


class MongoGauge:
    """A Gauge of one database; `store` works in the copy."""

    def __init__(self, database: Mongo, store: MongoStore) -> None:
        self._database = database
        self._store = store

    def size(self) -> Mapping[str, int]:
        collection = self._store.handle(Collection(self._database, "any"))
        try:
            said = collection.database.command("dbStats")
        except Exception:
            return {}  # not every server that speaks the protocol knows it
        return {ours: int(said[theirs]) for theirs, ours in SIZES.items() if said.get(theirs) is not None}

    @contextmanager
    def watching(self) -> Iterator[NoLocks]:
        yield NoLocks()

    def thin(self, percent: float, resources: Sequence[Touched]) -> tuple[Mapping[str, int], str]:
        kept: dict[str, int] = {}
        for collection in self._collections(resources):
            if self._store.exists(collection):
                self._thin(collection, percent)
                kept[collection.slug] = self._store.count(collection)
        return (
            kept,
            f"{percent:g} % of the documents of {len(kept)} collection(s) by a hash of _id, each for itself",
        )

    def _collections(self, resources: Sequence[Touched]) -> list[Collection]:
        return [one for one in resources if isinstance(one, Collection)]

    def _thin(self, collection: Collection, percent: float) -> None:
        handle = self._store.handle(collection)
        batch: list[Any] = []
        for document in handle.find({}, {"_id": 1}):
            if share_of(self._store.key_text(document["_id"])) >= percent / 100:
                batch.append(document["_id"])
            if len(batch) >= BATCH:
                handle.delete_many({"_id": {"$in": batch}})
                batch = []
        if batch:
            handle.delete_many({"_id": {"$in": batch}})


def share_of(key: str) -> float:
    """Return a number from 0 to 1 that a key always has."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48
