"""Write changes, each only if its record still is its before-image.

The server compares and writes in one step. What it did not write is read again: it may be what it was to
become already (a replay), or changed by somebody else (a conflict), or still the before-image, which happens
where a server cannot compare some kind of value, or where both images together are too large for one command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import BulkWriteError

from lockstep.domain.errors import DataError
from lockstep.domain.exchange import Applied
from lockstep.domain.progress import Change
from lockstep.domain.resources import Collection
from lockstep.stores.mongo.codec import decode, encode, id_bytes, key_text
from lockstep.stores.mongo.conditions import still, still_roughly
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.errors import DUPLICATE, TRANSIENT
from lockstep.stores.mongo.kinds import refuse_lost
from lockstep.stores.mongo.reading import fetch_raw, require_addressable

#: bytes; MongoDB's limit of a document
LARGEST = 16 * 1024 * 1024
#: bytes; a command holds both images beside its own words
LARGEST_PAIR = LARGEST - 64 * 1024

Write = InsertOne[Any] | ReplaceOne[Any] | DeleteOne | UpdateOne


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One change with its images encoded."""

    key: str
    id: Any
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    before_raw: bytes | None
    after_raw: bytes | None

    @property
    def place(self) -> bytes:
        return id_bytes(self.before_raw or self.after_raw or b"")

    @property
    def size(self) -> int:
        return len(self.before_raw or b"") + len(self.after_raw or b"")


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    #: writes that found their record
    done: int
    #: position → what the server said, for duplicate keys
    duplicates: Mapping[int, str]


def apply(connection: Connection, collection: Collection, changes: Sequence[Change]) -> Applied:
    """Write the changes; writing them again changes nothing."""
    steps = [step for change in changes if (step := _step(connection, collection, change)) is not None]
    if not steps:
        return Applied()
    exact = [(step, write) for step in steps if (write := _exact(connection, step)) is not None]
    now = [step for step, _ in exact]
    outcome = _write(connection, collection, [(step.key, write) for step, write in exact])
    if outcome.done == len(steps):
        return Applied(written=outcome.done)
    _refuse_duplicates(connection, collection, now, outcome)
    found = fetch_raw(connection, collection, [step.id for step in steps])
    untouched = [
        step
        for step in steps
        if step.before_raw != step.after_raw and _is(found.get(step.place), step.before_raw, step)
    ]
    # Between this comparison and the write, only fields that the filter names guard the record.
    rough = _write(connection, collection, [(step.key, _rough(step)) for step in untouched])
    _refuse_duplicates(connection, collection, untouched, rough)
    if rough.done == len(untouched):
        settled = {step.key for step in untouched}
    else:
        settled = set()
        found = fetch_raw(connection, collection, [step.id for step in steps])
    conflicts = tuple(
        step.key for step in steps if step.key not in settled and found.get(step.place) != step.after_raw
    )
    written = outcome.done + rough.done
    return Applied(
        written=written, already=max(len(steps) - len(conflicts) - written, 0), conflicts=conflicts
    )


def update(
    connection: Connection, collection: Collection, operators: Mapping[str, Any], befores: Sequence[Any]
) -> int:
    """Apply update operators to each document that still is its before-image; return how many were."""
    refuse_lost(operators, connection.capabilities.loses, where=str(collection), key="(the update)")
    raws = {key_text(before["_id"]): (before, encode(before)) for before in befores}
    for before in befores:
        require_addressable(connection, collection, before["_id"])
    capabilities = connection.capabilities
    change = dict(operators)
    exact: list[tuple[str, Write]] = [
        (key, UpdateOne(condition, change))
        for key, (before, raw) in raws.items()
        if len(raw) <= LARGEST_PAIR and (condition := still(capabilities, before, raw, None)) is not None
    ]
    done = _write(connection, collection, exact).done
    if done == len(raws):
        return done
    found = fetch_raw(connection, collection, [before["_id"] for before, _ in raws.values()])
    rough: list[tuple[str, Write]] = [
        (key, UpdateOne(still_roughly(before, None), change))
        for key, (before, raw) in raws.items()
        if found.get(id_bytes(raw)) == raw
    ]
    return min(done + _write(connection, collection, rough).done, len(raws))


def _step(connection: Connection, collection: Collection, change: Change) -> _Step | None:
    image = change.before if change.after is None else change.after
    if image is None:
        return None
    if change.before is not None and change.after is not None:
        _same_id(collection, change)
    key = key_text(image["_id"])
    require_addressable(connection, collection, image["_id"])
    step = _Step(
        key=key,
        id=image["_id"],
        before=change.before,
        after=change.after,
        before_raw=None if change.before is None else encode(change.before),
        after_raw=None if change.after is None else encode(change.after),
    )
    if change.after is not None:
        refuse_lost(change.after, connection.capabilities.loses, where=str(collection), key=key)
        if len(step.after_raw or b"") > LARGEST:
            raise DataError(
                f"{collection}, document {key}: it would be {len(step.after_raw or b''):,} bytes, and MongoDB "
                f"takes {LARGEST:,}. Make it smaller, or split it.",
                collection=collection.name,
                key=key,
            )
    return step


def _same_id(collection: Collection, change: Change) -> None:
    before, after = key_text(change.before["_id"]), key_text(change.after["_id"])
    if before != after:
        raise DataError(
            f"{collection}, document {before}: its _id would become {after}, and an _id cannot change. "
            "Insert a new document and delete this one.",
            collection=collection.name,
            key=before,
        )


def _exact(connection: Connection, step: _Step) -> Write | None:
    """Return the write that the server itself holds to the before-image; None where it cannot."""
    if step.before is None or step.before_raw is None:
        return InsertOne(RawBSONDocument(step.after_raw or b""))
    if step.size > LARGEST_PAIR or step.before_raw == step.after_raw:
        return None
    condition = still(connection.capabilities, step.before, step.before_raw, step.after)
    return None if condition is None else _replacing(condition, step)


def _rough(step: _Step) -> Write:
    if step.before is None:
        return InsertOne(RawBSONDocument(step.after_raw or b""))
    return _replacing(still_roughly(step.before, step.after), step)


def _replacing(condition: dict[str, Any], step: _Step) -> Write:
    if step.after_raw is None:
        return DeleteOne(condition)
    return ReplaceOne(condition, RawBSONDocument(step.after_raw))


def _is(now: bytes | None, image: bytes | None, step: _Step) -> bool:
    """Whether the record is this image; DataError where only a form that BSON has dropped keeps it from it."""
    if now == image:
        return True
    if now is not None and image is not None and now != step.after_raw and encode(decode(now)) == image:
        raise DataError(
            f"document {step.key} holds a value of a BSON type that is no longer in use (symbol, undefined or "
            "DBPointer) and cannot be carried. Rewrite that value first.",
            key=step.key,
        )
    return False


def _write(connection: Connection, collection: Collection, writes: Sequence[tuple[str, Write]]) -> _Outcome:
    """Send the writes, unordered; return how many found their record. DataError names one that was refused."""
    if not writes:
        return _Outcome(done=0, duplicates={})
    with connection.translate(f"writing {collection}"):
        try:
            result = connection.writer(collection.name).bulk_write(
                [write for _, write in writes], ordered=False
            )
        except BulkWriteError as problem:
            return _judge(connection, collection, [key for key, _ in writes], problem)
    return _Outcome(
        done=result.inserted_count + result.matched_count + result.deleted_count,
        duplicates={},
    )


def _judge(
    connection: Connection, collection: Collection, keys: Sequence[str], problem: BulkWriteError
) -> _Outcome:
    details = problem.details
    if details.get("writeConcernErrors"):
        raise connection.translate.unavailable(f"writing {collection}", "the write concern was not met")
    duplicates: dict[int, str] = {}
    for error in details.get("writeErrors", ()):
        code, said = error.get("code"), str(error.get("errmsg", ""))[:200]
        if code in TRANSIENT:
            raise connection.translate.unavailable(f"writing {collection}", said) from problem
        if code != DUPLICATE:
            raise DataError(
                f"{collection}, document {keys[error['index']]}: the server refused it: {said} (code {code}). "
                "Look at the document and at the collection's validator.",
                collection=collection.name,
                key=keys[error["index"]],
                code=code,
            ) from problem
        duplicates[error["index"]] = said
    done = sum(details.get(name, 0) for name in ("nInserted", "nMatched", "nRemoved"))
    return _Outcome(done=done, duplicates=duplicates)


def _refuse_duplicates(
    connection: Connection, collection: Collection, steps: Sequence[_Step], outcome: _Outcome
) -> None:
    """Raise DataError for a duplicate that is not one of the `_id`: another unique index has that value."""
    if not outcome.duplicates:
        return
    refused = {steps[position].key: said for position, said in outcome.duplicates.items()}
    ids = [steps[position].id for position in outcome.duplicates]
    there = fetch_raw(connection, collection, ids)
    for position in outcome.duplicates:
        step = steps[position]
        if there.get(step.place) == step.before_raw:
            raise DataError(
                f"{collection}, document {step.key}: another document has the same value in a unique index: "
                f"{refused[step.key]}. Mend one of the two.",
                collection=collection.name,
                key=step.key,
            )
