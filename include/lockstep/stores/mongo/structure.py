"""Collections, indexes and validators: made, found and taken away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import CollectionInvalid, OperationFailure

from lockstep.domain.errors import DataError
from lockstep.domain.resources import Collection
from lockstep.stores.mongo.codec import plain
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.errors import DUPLICATE, NAMESPACE_EXISTS, NOT_ON_VIEW
from lockstep.stores.mongo.reading import exists

Keys = Sequence[tuple[str, Any]]
#: IndexOptionsConflict, IndexKeySpecsConflict
_OTHER_INDEX = frozenset({85, 86})


def create_collection(
    connection: Connection, collection: Collection, validator: Mapping[str, Any] | None
) -> bool:
    """Create it, with its validator where the server keeps one; return False where it was there."""
    with connection.translate(f"creating {collection}"):
        if exists(connection, collection.name):
            return False
        rules: dict[str, Any] = {}
        if validator and connection.capabilities.keeps_validators:
            rules["validator"] = dict(validator)
        try:
            connection.db.create_collection(collection.name, **rules)
        except CollectionInvalid:
            return False
        except OperationFailure as problem:
            if problem.code != NAMESPACE_EXISTS:
                raise
            return False
    return True


def drop(connection: Connection, collection: Collection) -> None:
    """Remove an empty collection; one that is gone already is fine."""
    with connection.translate(f"dropping {collection}"):
        if not exists(connection, collection.name):
            return
        # Not atomic: the lease keeps our own writers off, and the operator everybody else.
        if connection.collection(collection.name).find_one({}, {"_id": 1}) is not None:
            raise DataError(
                f"{collection} is not empty, so it is not dropped. Look at what it holds, and park it instead.",
                collection=collection.name,
            )
        connection.collection(collection.name).drop()


def indexes_of(connection: Connection, name: str) -> list[dict[str, Any]]:
    """Return index definitions; none for a view, and for a collection that is not there."""
    # Some servers make a collection by listing its indexes.
    if not exists(connection, name):
        return []
    try:
        return [plain(index) for index in connection.collection(name).list_indexes()]
    except OperationFailure as problem:
        if problem.code != NOT_ON_VIEW:
            raise
        return []


def options_of(connection: Connection, name: str) -> dict[str, Any]:
    for found in connection.db.list_collections(filter={"name": name}):
        if found["name"] == name:
            return dict(plain(found.get("options", {})))
    return {}


def index_on(connection: Connection, collection: Collection, keys: Keys) -> dict[str, Any] | None:
    """Return the definition of the index on these keys, or None."""
    with connection.translate(f"listing the indexes of {collection}"):
        for index in indexes_of(connection, collection.name):
            if _matches(connection, index, keys):
                return index
    return None


def _matches(connection: Connection, index: Mapping[str, Any], keys: Keys) -> bool:
    there = list(index["key"].items())
    if connection.capabilities.keeps_index_directions:
        if any(direction == "text" for _, direction in keys):
            # A text index lists its fields as weights.
            return set(index.get("weights", ())) == {name for name, how in keys if how == "text"}
        return there == [(name, direction) for name, direction in keys]
    return [name for name, _ in there] == [name for name, _ in keys]


def create_index(
    connection: Connection, collection: Collection, keys: Keys, name: str, options: Mapping[str, Any]
) -> None:
    """Create an index; the same one twice is fine."""
    with connection.translate(f"creating the index {name} of {collection}"):
        try:
            connection.writer(collection.name).create_index(list(keys), name=name, **options)
        except OperationFailure as problem:
            if problem.code == DUPLICATE:
                raise DataError(
                    f"{collection}: two documents have the same value in the unique index {name}: "
                    f"{str(problem)[:200]}. Mend them first.",
                    collection=collection.name,
                    index=name,
                ) from problem
            if problem.code in _OTHER_INDEX:
                raise DataError(
                    f"{collection}: there is another index of the name {name}, or on its keys: "
                    f"{str(problem)[:200]}. Drop that one first, or choose another name.",
                    collection=collection.name,
                    index=name,
                ) from problem
            raise


def drop_index(connection: Connection, collection: Collection, keys: Keys) -> None:
    """Drop the index on these keys, by the name that the server gave it; one that is gone is fine."""
    index = index_on(connection, collection, keys)
    if index is None:
        return
    with connection.translate(f"dropping the index {index['name']} of {collection}"):
        connection.collection(collection.name).drop_index(index["name"])


def validator(connection: Connection, collection: Collection) -> dict[str, Any]:
    with connection.translate(f"reading the validator of {collection}"):
        return dict(options_of(connection, collection.name).get("validator", {}))


def set_validator(connection: Connection, collection: Collection, rules: Mapping[str, Any]) -> None:
    """Set the validator; an empty one takes it off."""
    with connection.translate(f"setting the validator of {collection}"):
        connection.db.command("collMod", collection.name, validator=dict(rules))
