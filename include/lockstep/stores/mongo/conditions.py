"""Say "this document, still exactly so" in a filter, where the server can be trusted with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lockstep.stores.mongo.capabilities import Capabilities
from lockstep.stores.mongo.codec import Raw
from lockstep.stores.mongo.fields import addressable, by_field
from lockstep.stores.mongo.kinds import comparable

#: characters of a text that a filter compares beside an exact comparison here
SHORT = 1000


def still(
    capabilities: Capabilities, before: Mapping[str, Any], raw: bytes, after: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return a filter for the document `before`, whose BSON is `raw`, if it is as it was.

    None where the server would not compare some value of it rightly: then it must be compared here.
    """
    if capabilities.compares_documents:
        return _whole(capabilities, before, raw)
    if all(map(addressable, before)) and comparable(before, capabilities.compares):
        return by_field(before, after)
    return None


def _whole(capabilities: Capabilities, before: Mapping[str, Any], raw: bytes) -> dict[str, Any]:
    equal: dict[str, Any] = {"$eq": ["$$ROOT", {"$literal": Raw(raw)}]}
    if capabilities.measures_documents:
        # $eq takes 1 and 1.0 for the same; the size tells an int from a long or a double.
        equal = {"$and": [equal, {"$eq": [{"$bsonSize": "$$ROOT"}, len(raw)]}]}
    return {"_id": {"$eq": before["_id"]}, "$expr": equal}


def still_roughly(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a filter by `_id` and plain fields, for a document that was just seen to be as it was."""
    plain = {
        name: value
        for name, value in before.items()
        if name == "_id" or (isinstance(value, (str, bool, int)) and len(str(value)) < SHORT)
    }
    conditions = by_field(plain, None)
    gained = [name for name in after or () if name not in before and addressable(name)]
    return {**conditions, **{name: {"$exists": False} for name in gained}}
