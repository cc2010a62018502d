"""Document stores over a database of their own, and what lies in it as the plain driver reads it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from bson import ObjectId
from bson.raw_bson import RawBSONDocument
from kept_backups import Kept
from pymongo import MongoClient

from lockstep.domain.resources import Collection, Everything, Mongo
from lockstep.domain.scratch import SCRATCH
from lockstep.stores.mongo import MongoStore

DATABASE = Mongo("campus_documents")
TEAMS = Collection(DATABASE, "teams")
NOTES = Collection(DATABASE, "notes")
ALL = Everything(DATABASE)
VIEW = {"type": "view", "options": {"viewOn": "teams", "pipeline": []}}
_NAMES: list[str] = []


@contextmanager
def a_store(uri: str) -> Iterator[MongoStore]:
    """Make a store over a database of its own; scratch spaces that a test leaves are dropped."""
    name = f"test_{uuid.uuid4().hex}"
    made = MongoStore(DATABASE, uri, name)
    try:
        yield made
    finally:
        for left in (name, *_NAMES):
            made._connection.client.drop_database(left)
        _NAMES.clear()
        made.close()


def a_name() -> str:
    """Return the name of a scratch space, which is dropped after the test."""
    _NAMES.append(f"{SCRATCH}{uuid.uuid4().hex[:12]}_campus")
    return _NAMES[-1]


def db(store: MongoStore) -> Any:
    return store._connection.db


def names(store: MongoStore) -> set[str]:
    return {name for name in db(store).list_collection_names() if not name.startswith("_lockstep")}


def teams(count: int) -> list[dict[str, Any]]:
    return [
        {"_id": f"t{n:05}", "n": n, "list": [n, {"z": 1, "a": None}], "text": "é" * (n % 7)}
        for n in range(count)
    ]


def fill(store: MongoStore, count: int = 20) -> None:
    db(store)["teams"].insert_many(teams(count))
    store.create_index(TEAMS, [("n", 1)], "n_1", {"unique": True})
    db(store)["notes"].insert_many(
        [{"_id": ObjectId(), "at": datetime(2026, 1, 1, tzinfo=timezone.utc)} for _ in range(3)]
    )


def witness(store: MongoStore) -> dict[str, Any]:
    """Return all that there is as the plain driver reads it, byte for byte."""
    with MongoClient(store._connection._uri, document_class=RawBSONDocument) as client:
        there: Any = client[store._connection.dbname]
        return {
            name: (
                sorted(bytes(document.raw) for document in there[name].find()),
                sorted(str(sorted(index.items())) for index in db(store)[name].list_indexes()),
            )
            for name in names(store)
        }


def loaded(store: MongoStore, kept: Kept) -> MongoStore:
    scratch = store.open_scratch(a_name())
    scratch.load(kept.files, kept.read)
    return scratch
