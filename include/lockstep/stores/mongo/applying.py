"""Write changes, each only if its record still is its before-image.

The server compares and writes in one step. What it did not write is read again: it may be what it was to
become already (a replay), or changed by somebody else (a conflict), or still the before-image, which happens
where a server cannot compare some kind of value, or where both images together are too large for one command.
A record that the server does not take is left as it is, and told from the others, which are written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import DeleteOne, InsertOne, ReplaceOne, UpdateOne

from lockstep.domain.errors import DataError
from lockstep.domain.exchange import Applied
from lockstep.domain.progress import Change
from lockstep.domain.quarantine import Quarantined
from lockstep.domain.resources import Collection
from lockstep.stores.mongo.changes import LARGEST, too_large
from lockstep.stores.mongo.codec import Raw, encode, id_bytes, key_text
from lockstep.stores.mongo.conditions import still, still_roughly
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.foreseeing import foresee
from lockstep.stores.mongo.kinds import refuse_lost
from lockstep.stores.mongo.reading import fetch_raw, require_addressable
from lockstep.stores.mongo.writing import Outcome, Write, write

#: bytes; a command holds both images beside its own words
LARGEST_PAIR = LARGEST - 64 * 1024


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One change with its images encoded."""

    #: the change's own name for itself
    name: str
    key: str
    id: Any
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    before_raw: bytes | None
    after_raw: bytes | None
    #: the bytes of the `_id`
    place: bytes

    @property
    def size(self) -> int:
        return len(self.before_raw or b"") + len(self.after_raw or b"")

    def refused(self, error: str) -> Quarantined:
        return Quarantined(key=self.name, shown=repr(self.id), error=error)


def apply(connection: Connection, collection: Collection, changes: Sequence[Change]) -> Applied:
    """Write the changes; writing them again changes nothing."""
    steps = [step for change in changes if (step := _step(connection, collection, change)) is not None]
    refused = {
        step.key: step.refused(f"it {too_large(step.after_raw)}")
        for step in steps
        if step.after_raw is not None and len(step.after_raw) > LARGEST
    }
    fitting = [step for step in steps if step.key not in refused] if refused else steps
    exact = [(step, one) for step in fitting if (one := _exact(connection, step)) is not None]
    outcome = write(connection, collection, [one for _, one in exact])
    if outcome.done == len(fitting) and not outcome.refused:
        return Applied(written=outcome.done, refused=tuple(refused.values()))
    refused.update(_refused(connection, collection, [step for step, _ in exact], outcome))
    rest = [step for step in fitting if step.key not in refused]
    found = fetch_raw(connection, collection, [step.id for step in rest])
    untouched = [
        step
        for step in rest
        if step.before_raw != step.after_raw and found.get(step.place) == step.before_raw
    ]
    # Between this comparison and the write, only fields that the filter names guard the record.
    rough = write(connection, collection, [_rough(step) for step in untouched])
    refused.update(_refused(connection, collection, untouched, rough))
    settled = {step.key for step in untouched} if rough.done == len(untouched) else set()
    if not settled >= {step.key for step in rest} - refused.keys():
        found = fetch_raw(connection, collection, [step.id for step in rest])
    conflicts = tuple(
        step.key
        for step in rest
        if step.key not in settled and step.key not in refused and found.get(step.place) != step.after_raw
    )
    written = outcome.done + rough.done
    return Applied(
        written=written,
        already=max(len(steps) - len(conflicts) - len(refused) - written, 0),
        conflicts=conflicts,
        refused=tuple(refused.values()),
    )


def update(
    connection: Connection, collection: Collection, operators: Mapping[str, Any], befores: Sequence[Any]
) -> Applied:
    """Apply update operators to each document that still is its before-image.

    The conflicts are the others that are not what the operators make of it either.
    """
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
    outcome = write(connection, collection, [one for _, one in exact])
    refused = _refused_by_key([key for key, _ in exact], raws, outcome)
    if outcome.done == len(raws):
        return Applied(written=outcome.done)
    rest = {key: held for key, held in raws.items() if key not in refused}
    found = fetch_raw(connection, collection, [before["_id"] for before, _ in rest.values()])
    rough: list[tuple[str, Write]] = [
        (key, UpdateOne(still_roughly(before, None), change))
        for key, (before, raw) in rest.items()
        if found.get(id_bytes(raw)) == raw
    ]
    second = write(connection, collection, [one for _, one in rough])
    refused.update(_refused_by_key([key for key, _ in rough], raws, second))
    # A bulk write says how many it found and not which: where some are missing, each of them may be.
    sure = {key for key, _ in exact} if outcome.done == len(exact) else set()
    sure |= {key for key, _ in rough} if second.done == len(rough) else set()
    unsure = {key: held for key, held in raws.items() if key not in sure and key not in refused}
    conflicts = _changed_by_others(connection, collection, operators, unsure)
    written = min(outcome.done + second.done, len(raws) - len(refused) - len(conflicts))
    return Applied(
        written=written,
        already=len(raws) - len(refused) - len(conflicts) - written,
        conflicts=conflicts,
        refused=tuple(refused.values()),
    )


def _changed_by_others(
    connection: Connection,
    collection: Collection,
    operators: Mapping[str, Any],
    unsure: Mapping[str, tuple[Any, bytes]],
) -> tuple[str, ...]:
    """Return the keys of documents that are not what the operators make of them."""
    foreseen = foresee(connection, collection, operators, [before for before, _ in unsure.values()])
    found = fetch_raw(connection, collection, [before["_id"] for before, _ in unsure.values()])
    return tuple(key for key, (_, raw) in unsure.items() if found.get(id_bytes(raw)) != encode(foreseen[key]))


def _refused_by_key(
    keys: Sequence[str], raws: Mapping[str, tuple[Any, bytes]], outcome: Outcome
) -> dict[str, Quarantined]:
    """Return what the server did not take; an update that meets a duplicate meets it in another unique index."""
    said = {**outcome.duplicates, **outcome.refused}
    return {
        keys[position]: Quarantined(
            key=keys[position], shown=repr(raws[keys[position]][0]["_id"]), error=error
        )
        for position, error in said.items()
    }


def _step(connection: Connection, collection: Collection, change: Change) -> _Step | None:
    image = change.before if change.after is None else change.after
    if image is None:
        return None
    before_raw = None if change.before is None else encode(change.before)
    after_raw = None if change.after is None else encode(change.after)
    key = key_text(image["_id"])
    place = id_bytes(before_raw or after_raw or b"")
    if before_raw is not None and after_raw is not None and place != id_bytes(after_raw):
        _refuse_new_id(collection, change)
    require_addressable(connection, collection, image["_id"])
    if change.after is not None:
        refuse_lost(change.after, connection.capabilities.loses, where=str(collection), key=key)
    return _Step(
        name=change.key,
        key=key,
        id=image["_id"],
        before=change.before,
        after=change.after,
        before_raw=before_raw,
        after_raw=after_raw,
        place=place,
    )


def _refuse_new_id(collection: Collection, change: Change) -> None:
    before, after = key_text(change.before["_id"]), key_text(change.after["_id"])
    raise DataError(
        f"{collection}, document {before}: its _id would become {after}, and an _id cannot change. "
        "Insert a new document and delete this one.",
        collection=collection.name,
        key=before,
    )


def _exact(connection: Connection, step: _Step) -> Write | None:
    """Return the write that the server itself holds to the before-image; None where it cannot."""
    if step.before is None or step.before_raw is None:
        return InsertOne(Raw(step.after_raw or b""))
    if step.size > LARGEST_PAIR or step.before_raw == step.after_raw:
        return None
    condition = still(connection.capabilities, step.before, step.before_raw, step.after)
    return None if condition is None else _replacing(condition, step)


def _rough(step: _Step) -> Write:
    if step.before is None:
        return InsertOne(Raw(step.after_raw or b""))
    return _replacing(still_roughly(step.before, step.after), step)


def _replacing(condition: dict[str, Any], step: _Step) -> Write:
    if step.after_raw is None:
        return DeleteOne(condition)
    return ReplaceOne(condition, Raw(step.after_raw))


def _refused(
    connection: Connection, collection: Collection, steps: Sequence[_Step], outcome: Outcome
) -> dict[str, Quarantined]:
    """Return what the server did not take, by key. A duplicate of the `_id` alone is no such thing."""
    refused = dict(outcome.refused)
    if outcome.duplicates:
        twice = {position: steps[position] for position in outcome.duplicates}
        there = fetch_raw(connection, collection, [step.id for step in twice.values()])
        for position, step in twice.items():
            # What still is as it was met its like in another unique index.
            if there.get(step.place) == step.before_raw:
                refused[position] = outcome.duplicates[position]
    return {steps[position].key: steps[position].refused(error) for position, error in refused.items()}
