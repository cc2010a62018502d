"""The documents that are changed, and how their content is compared."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import bson
from pymongo import MongoClient

NAME = "answers"
#: documents of one insert
BATCH = 1_000

_SENTENCE = "the tide came in before anybody had counted boats nets lamps or children on the pier"
_WORDS = _SENTENCE.split()
_EPOCH = datetime(2024, 1, 1, tzinfo=timezone.utc)

Document = dict[str, Any]


def documents(count: int) -> Iterator[Document]:
    """Make the same documents each time."""
    chance = random.Random(17)
    for number in range(count):
        yield {
            "_id": f"a{number:010}",
            "student": f"s{chance.randrange(50_000):06}",
            "course": f"c{number % 40:03}",
            "created_at": _EPOCH + timedelta(seconds=number),
            "responses": [
                {"question": place, "score": chance.randrange(10), "text": _text(chance)}
                for place in range(3)
            ],
        }


def _text(chance: random.Random) -> str:
    return " ".join(chance.choices(_WORDS, k=chance.randrange(8, 24)))


def fill(uri: str, dbname: str, count: int) -> None:
    """Store the documents in an empty collection."""
    batch: list[Document] = []
    with MongoClient[Document](uri) as client:
        collection = client[dbname][NAME]
        for document in documents(count):
            batch.append(document)
            if len(batch) == BATCH:
                collection.insert_many(batch)
                batch = []
        if batch:
            collection.insert_many(batch)


def drop(uri: str, dbname: str) -> None:
    with MongoClient[Document](uri) as client:
        client.drop_database(dbname)


def content(uri: str, dbname: str, first: int | None = None) -> tuple[int, str]:
    """Return how many documents there are, the first or all, and a hash of their bytes."""
    digest, count = hashlib.sha256(), 0
    with MongoClient[Document](uri) as client:
        for document in client[dbname][NAME].find().sort("_id", 1).limit(first or 0):
            digest.update(bson.encode(document))
            count += 1
    return count, digest.hexdigest()


def wanted(count: int) -> tuple[int, str]:
    """Return the same of what the documents are to become."""
    digest = hashlib.sha256()
    for document in documents(count):
        words = sum(len(one["text"].split()) for one in document["responses"])
        digest.update(bson.encode({**document, "words": words}))
    return count, digest.hexdigest()
