"""Find out what the server can do by asking it, never by its name.

Every probe works in a scratch collection of its own, below the reserved name, and drops it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import bson
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from bson.raw_bson import RawBSONDocument
from pymongo import UpdateOne
from pymongo.database import Database
from pymongo.errors import ConnectionFailure, OperationFailure, ProtocolError

from lockstep.domain.resources import RESERVED
from lockstep.stores.mongo.codec import DECODE, Document, encode
from lockstep.stores.mongo.fields import by_field

SCRATCH = f"{RESERVED}_probe"

#: kind of value → one of its kind
SAMPLES: dict[str, Any] = {
    "decimal128": Decimal128("1.50"),
    "int64": Int64(5),
    "not a number": float("nan"),
    "infinity": float("inf"),
    "binary subtype": Binary(b"0123456789abcdef", 4),
    "regex": Regex("a", "i"),
    "timestamp": Timestamp(1, 2),
    "key bound": [MinKey(), MaxKey()],
    "code": Code("x"),
    "objectId": ObjectId("0123456789abcdef01234567"),
    "date": datetime(2020, 1, 1, tzinfo=timezone.utc),
    "far date": DatetimeMS(2**60),
}

#: kind of value → two of its kind that differ
PAIRS: dict[str, tuple[Any, Any]] = {
    "string": ("a", "b"),
    "int": (5, 6),
    "int64": (Int64(2**40), Int64(2**40 + 1)),
    "double": (1.5, 2.5),
    "bool": (True, False),
    "null": (None, 0),
    "date": (SAMPLES["date"], datetime(2021, 1, 1, tzinfo=timezone.utc)),
    "objectId": (ObjectId("0" * 24), ObjectId("f" * 24)),
    "bytes": (b"a", b"b"),
}

TOUCH = {"$set": {"touched": True}}

#: kind of `_id` → two of its kind, in order
IDS: dict[str, tuple[Any, Any]] = {
    "string": ("a", "b"),
    "number": (7, 8.5),
    "objectId": (ObjectId("0" * 24), ObjectId("f" * 24)),
    "date": (SAMPLES["date"], datetime(2021, 1, 1, tzinfo=timezone.utc)),
    "bool": (False, True),
    "binary": (Binary(b"0123456789abcdef", 4), Binary(b"1123456789abcdef", 4)),
    "document": ({"a": 1}, {"a": 2}),
}


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the server was seen to do."""

    #: compares whole documents: `$expr` on `$$ROOT`
    compares_documents: bool
    #: knows the size of a document in an expression: `$bsonSize`
    measures_documents: bool
    #: kinds of plain value that it compares rightly one by one, where it compares no documents
    compares: frozenset[str]
    #: keeps `min` and `max` of a find whatever its filter is
    keeps_bounds: bool
    #: draws a sample of `_id`s (`$sample`) and sorts it as it sorts the `_id`s of a find
    samples: bool
    renames: bool
    keeps_validators: bool
    keeps_index_names: bool
    keeps_index_directions: bool
    #: kinds of value that it refuses, or gives back as something else
    loses: frozenset[str]
    #: kind of `_id` → whether a bound is given as it is ("value") or as its text ("text"); missing: not at all
    bounds: dict[str, str]


def probe(db: Database[Document]) -> Capabilities:
    """Ask the server; ConnectionFailure leaves it unasked."""
    names, directions = _index_habits(db)
    compares, measures = _compares_documents(db)
    return Capabilities(
        compares_documents=compares,
        compares=frozenset() if compares else _comparable(db),
        measures_documents=measures,
        keeps_bounds=_keeps_bounds(db),
        samples=_samples(db),
        renames=_renames(db),
        keeps_validators=_keeps_validators(db),
        keeps_index_names=names,
        keeps_index_directions=directions,
        bounds=_bounds(db),
        # Last: a value that the server stumbles over may cost the connection.
        loses=frozenset(_lost(db)),
    )


@contextlib.contextmanager
def _scratch(db: Database[Document]) -> Iterator[str]:
    name = f"{SCRATCH}_{ObjectId()}"
    try:
        yield name
    finally:
        db.drop_collection(name)


def _answers(question: Callable[[], bool]) -> bool:
    """Take a refusal for a no; a server that cannot be reached says nothing."""
    try:
        return question()
    except ConnectionFailure:
        raise
    except (OperationFailure, ProtocolError):
        return False


def _compares_documents(db: Database[Document]) -> tuple[bool, bool]:
    """Ask for whole documents: one that is there, and two that are nearly the same and are not."""
    there: dict[str, Any] = {"_id": "x", "n": {"b": 1, "a": [2]}}
    others: list[dict[str, Any]] = [{"_id": "x", "n": {"a": [2], "b": 1}}, {**there, "m": None}]
    with _scratch(db) as name:
        db[name].insert_one(dict(there))

        def finds(expression: dict[str, Any]) -> bool:
            write = UpdateOne({"_id": {"$eq": "x"}, "$expr": expression}, {"$set": {"n": there["n"]}})
            return db[name].bulk_write([write], ordered=False).matched_count == 1

        def compares() -> bool:
            return finds(_equals(there)) and not any(finds(_equals(other)) for other in others)

        def measures() -> bool:
            size = len(encode(there))
            return finds(_measures(size)) and not finds(_measures(size + 4))

        return _answers(compares), _answers(measures)


def _equals(document: dict[str, Any]) -> dict[str, Any]:
    return {"$eq": ["$$ROOT", {"$literal": document}]}


def _measures(size: int) -> dict[str, Any]:
    return {"$eq": [{"$bsonSize": "$$ROOT"}, size]}


def _comparable(db: Database[Document]) -> frozenset[str]:
    """Return kinds for which a condition finds a field that is equal, and none that is not.

    It is asked of an update, because a server may read the filter of a find in another way.
    """
    found = set()
    with _scratch(db) as name:
        db[name].insert_many([{"_id": "missing"}, {"_id": "null", "v": None}, {"_id": "text", "v": "text"}])
        for kind, (same, other) in PAIRS.items():
            wrong = [f"{kind} other", "missing", "text"] + (["null"] if same is not None else [])
            there = [{"_id": f"{kind} same", "v": same}, {"_id": f"{kind} other", "v": other}]

            def finds(ids: list[str], value: Any = same) -> int:
                writes = [UpdateOne(by_field({"_id": one, "v": value}, None), TOUCH) for one in ids]
                return db[name].bulk_write(writes, ordered=False).matched_count

            if _answers(
                lambda kind=kind, there=there, wrong=wrong, finds=finds: (  # type: ignore[misc]
                    len(db[name].insert_many(there).inserted_ids) == 2
                    and finds([f"{kind} same"]) == 1
                    and finds(wrong) == 0
                )
            ):
                found.add(kind)
    return frozenset(found)


def _keeps_bounds(db: Database[Document]) -> bool:
    demanding: tuple[dict[str, Any], ...] = (
        {"$or": [{"s": {"$elemMatch": {"t": {"$regex": "x"}}}}, {"s": {"$size": 7}}]},
        {"$or": [{"s.t": {"$gt": ""}}, {"n": {"$regex": "x"}}]},
        {"$nor": [{"n": "x"}]},
        {"$expr": {"$eq": ["$n", "n"]}},
    )
    with _scratch(db) as name:
        db[name].insert_many([{"_id": text, "s": [{"t": "x"}], "n": "n"} for text in ("a", "b", "c")])

        def within(where: dict[str, Any]) -> bool:
            found = db[name].find(where).min([("_id", "b")]).max([("_id", "c")]).hint([("_id", 1)])
            return [document["_id"] for document in found] == ["b"]

        return all(_answers(lambda where=where: within(where)) for where in demanding)  # type: ignore[misc]


def _samples(db: Database[Document]) -> bool:
    with _scratch(db) as name:
        ids: list[Any] = ["b", "a", "Z", 10, 2.5, ObjectId("0" * 24), SAMPLES["date"]]
        db[name].insert_many([{"_id": one} for one in ids])

        def samples() -> bool:
            def drawn(size: int) -> list[bytes]:
                stages: list[dict[str, Any]] = [{"$sample": {"size": size}}, {"$project": {"_id": 1}}]
                return _ids(db[name].aggregate([*stages, {"$sort": {"_id": 1}}]))

            everything = _ids(db[name].find({}, {"_id": 1}).sort("_id", 1))
            return drawn(len(ids)) == everything and len(set(drawn(3)) & set(everything)) == 3

        return _answers(samples)


def _renames(db: Database[Document]) -> bool:
    with _scratch(db) as name, _scratch(db) as other:
        db[name].insert_one({"_id": "x"})
        if not _answers(lambda: bool(db[name].rename(other))):
            return False
        return db[other].find_one({}) == {"_id": "x"} and db[name].find_one({}) is None


def _keeps_validators(db: Database[Document]) -> bool:
    with _scratch(db) as name:
        if not _answers(lambda: db.create_collection(name, validator={"a": {"$exists": True}}) is not None):
            return False
        return not _answers(lambda: db[name].insert_one({"_id": "x"}) is not None)


def _index_habits(db: Database[Document]) -> tuple[bool, bool]:
    with _scratch(db) as name:
        db[name].create_index([("a", 1), ("b", -1)], name="chosen")
        listed = [index for index in db[name].list_indexes() if "a" in index["key"]]
        names = any(index["name"] == "chosen" for index in listed)
        directions = any(list(index["key"].items()) == [("a", 1), ("b", -1)] for index in listed)
        return names, directions


def _bounds(db: Database[Document]) -> dict[str, str]:
    with _scratch(db) as name:
        found = {}
        for kind, (low, high) in IDS.items():
            db[name].delete_many({})
            form = _bound_form(db[name], low, high)
            if form is not None:
                found[kind] = form
        return found


def _bound_form(scratch: Any, low: Any, high: Any) -> str | None:
    """Return how a bound of this kind is given; None where the server cannot find such an `_id` again."""
    if not _answers(lambda: len(scratch.insert_many([{"_id": low}, {"_id": high}]).inserted_ids) == 2):
        return None

    def found(value: Any) -> bool:
        return bool(scratch.find_one({"_id": {"$eq": value}}) and scratch.find_one({"_id": {"$in": [value]}}))

    def bounds(bound: Any) -> bool:
        above = scratch.find({}).min([("_id", bound)]).hint([("_id", 1)])
        below = scratch.find({}).max([("_id", bound)]).hint([("_id", 1)])
        return _ids(above) == _raw([high]) and _ids(below) == _raw([low])

    if not _answers(lambda: found(low) and found(high)):
        return None
    if _answers(lambda: bounds(high)):
        return "value"
    return "text" if _answers(lambda: bounds(str(high))) else None


def _ids(cursor: Any) -> list[bytes]:
    return _raw([document["_id"] for document in cursor])


def _raw(values: list[Any]) -> list[bytes]:
    return [bson.encode({"": value}, codec_options=DECODE) for value in values]


def _lost(db: Database[Document]) -> Iterator[str]:
    with _scratch(db) as name:
        for kind, value in SAMPLES.items():
            sent = encode({"_id": kind, "v": value})
            if not _answers(lambda sent=sent, kind=kind: _keeps(db[name], sent, kind)):  # type: ignore[misc]
                yield kind


def _keeps(scratch: Any, sent: bytes, kind: str) -> bool:
    scratch.insert_one(RawBSONDocument(sent))
    return b"".join(scratch.find_raw_batches({"_id": kind})) == sent
