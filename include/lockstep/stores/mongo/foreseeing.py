"""Foresee what update operators make of documents: the server does it to copies, in a collection of their own.

Only needed where some documents of a batch are not what they were and it is not known who changed them: the run,
before it was cut off, or somebody else.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from lockstep.domain.resources import RESERVED, Collection
from lockstep.stores.mongo.codec import Raw, encode, encode_anew, keep, key_text
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.reading import fetch, raw_documents

#: the operator whose values only the moment of the update knows
CLOCK = "$currentDate"


def foresee(
    connection: Connection, collection: Collection, operators: Mapping[str, Any], befores: Sequence[Any]
) -> dict[str, Any]:
    """Return what each document would become, by key; one that the operators cannot be applied to stays as it is.

    Values of the server's clock are those of the document that is there now, where nothing else differs.
    """
    if not befores:
        return {}
    foreseen = {key_text(before["_id"]): before for before in befores}
    with connection.translate(f"trying the update of {collection} on copies"):
        foreseen |= _tried(connection, operators, befores)
    clock = operators.get(CLOCK)
    if clock:
        now = fetch(connection, collection, [before["_id"] for before in befores])
        for before in befores:
            key = key_text(before["_id"])
            if key in now and _without(now[key], clock) == _without(foreseen[key], clock):
                foreseen[key] = now[key]
    return foreseen


def _tried(connection: Connection, operators: Mapping[str, Any], befores: Sequence[Any]) -> dict[str, Any]:
    """Return what the operators make of copies, by key."""
    # Each time another name: several shards of a collection may be at it.
    name = f"{RESERVED}_foreseen_{uuid4().hex[:12]}"
    copies = connection.writer(name)
    try:
        copies.insert_many([Raw(encode(before)) for before in befores])
        with suppress(BulkWriteError):  # what cannot be updated stays
            copies.bulk_write(
                [UpdateOne({"_id": one["_id"]}, dict(operators)) for one in befores], ordered=False
            )
        return {key_text(one["_id"]): one for one in map(keep, raw_documents(connection, name))}
    finally:
        connection.db.drop_collection(name)


def _without(document: Any, paths: Mapping[str, Any]) -> bytes:
    """Return a document's BSON without some fields, named as update operators name them."""
    rest = copy.deepcopy(document)
    for path in paths:
        *above, last = path.split(".")
        place = rest
        for name in above:
            place = place.get(name) if isinstance(place, Mapping) else None
        if isinstance(place, dict):
            place.pop(last, None)
    return encode_anew(rest)
