"""Changing documents by Python: what people write first, and what they write when it has to be fast."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any

import bson
from pymongo import MongoClient, UpdateOne

#: Documents of a batch.
DOCUMENTS = 1_000
#: Batches that may wait to be written while the next one is read.
WAITING = 2

Batch = Sequence[UpdateOne]


def words(document: dict[str, Any]) -> int:
    return sum(len(one["text"].split()) for one in document["responses"])


def bulk_loop(uri: str, dbname: str, name: str) -> int:
    """Read raw batches by _id while the one before is written unordered; return documents."""
    batches: queue.Queue[Batch | None] = queue.Queue(maxsize=WAITING)
    failed: list[BaseException] = []
    done = 0
    with MongoClient[dict[str, Any]](uri) as client:
        collection = client[dbname][name]
        writer = threading.Thread(target=_write, args=(collection, batches, failed), daemon=True)
        writer.start()
        raw: Any
        for raw in collection.find_raw_batches({}, sort=[("_id", 1)], batch_size=DOCUMENTS):
            if failed:
                break
            documents = bson.decode_all(raw)
            batches.put(
                [UpdateOne({"_id": one["_id"]}, {"$set": {"words": words(one)}}) for one in documents]
            )
            done += len(documents)
        batches.put(None)
        writer.join()
    if failed:
        raise failed[0]
    return done


def _write(collection: Any, batches: queue.Queue[Batch | None], failed: list[BaseException]) -> None:
    try:
        while (batch := batches.get()) is not None:
            collection.bulk_write(batch, ordered=False)
    except BaseException as problem:
        failed.append(problem)
        while batches.get() is not None:  # let the reader end
            pass


def one_by_one(uri: str, dbname: str, name: str, documents: int) -> int:
    """Find documents and update each by a call of its own; return how many."""
    done = 0
    with MongoClient[dict[str, Any]](uri) as client:
        collection = client[dbname][name]
        for document in collection.find().sort("_id", 1).limit(documents):
            collection.update_one({"_id": document["_id"]}, {"$set": {"words": words(document)}})
            done += 1
    return done
