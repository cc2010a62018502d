"""Send writes in bulk, unordered, and tell what the server refused from what failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from lockstep.domain.resources import Collection
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.errors import DUPLICATE, TRANSIENT

Write = InsertOne[Any] | ReplaceOne[Any] | DeleteOne | UpdateOne


@dataclass(frozen=True, kw_only=True)
class Outcome:
    #: writes that found their record
    done: int
    #: position → what the server said, for duplicate keys
    duplicates: Mapping[int, str] = field(default_factory=dict)
    #: position → the same, for whatever else it does not take
    refused: Mapping[int, str] = field(default_factory=dict)


def write(connection: Connection, collection: Collection, writes: Sequence[Write]) -> Outcome:
    """Send the writes; Unavailable where some of them failed for a reason that may pass."""
    if not writes:
        return Outcome(done=0)
    with connection.translate(f"writing {collection}"):
        try:
            result = connection.writer(collection.name).bulk_write(writes, ordered=False)
        except BulkWriteError as problem:
            return judge(connection, collection, problem)
    return Outcome(done=result.inserted_count + result.matched_count + result.deleted_count)


def judge(connection: Connection, collection: Collection, problem: BulkWriteError) -> Outcome:
    """Return what came of writes of which some failed."""
    details = problem.details
    if details.get("writeConcernErrors"):
        raise connection.translate.unavailable(f"writing {collection}", "the write concern was not met")
    duplicates: dict[int, str] = {}
    refused: dict[int, str] = {}
    for error in details.get("writeErrors", ()):
        code, said = error.get("code"), str(error.get("errmsg", ""))[:200]
        if code in TRANSIENT:
            raise connection.translate.unavailable(f"writing {collection}", said) from problem
        if code == DUPLICATE:
            duplicates[error["index"]] = (
                f"another document has the same value in a unique index: {said}. Mend one of the two."
            )
        else:
            refused[error["index"]] = (
                f"the server refused it: {said} (code {code}). Look at the document and at the collection's validator."
            )
    done = sum(details.get(name, 0) for name in ("nInserted", "nMatched", "nRemoved"))
    return Outcome(done=done, duplicates=duplicates, refused=refused)
