"""Give a collection another name, by the server or, where it cannot, by a copy that may be cut off anywhere."""

from __future__ import annotations

from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.errors import BulkWriteError, OperationFailure

from lockstep.domain.errors import DataError, Refused
from lockstep.domain.resources import RESERVED
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.errors import DUPLICATE, NAMESPACE_NOT_FOUND
from lockstep.stores.mongo.fingerprints import digests
from lockstep.stores.mongo.reading import exists, raw_batches, split
from lockstep.stores.mongo.structure import indexes_of, options_of

#: one document a copy under way: {_id: the new name, of: the old name}
MOVES = f"{RESERVED}_moves"


def rename(connection: Connection, old: str, new: str) -> None:
    """Rename without replacing anything; done already is fine, and so is done half-way."""
    with connection.translate(f"renaming collection {old} to {new}"):
        moving = _under_way(connection, new) == old
        there, taken = exists(connection, old), exists(connection, new)
        if taken and not there:
            _forget(connection, new)
            return
        if not there:
            raise DataError(
                f"there is neither a collection {old!r} nor {new!r} in {connection.translate.where}. "
                "Look in the backup of the run.",
                collection=old,
            )
        if taken and not moving:
            raise Refused(
                f"collections {old!r} and {new!r} are both there in {connection.translate.where}. "
                f"Rename or drop the one that should not be, then clear the failed task.",
                collection=old,
            )
        if connection.capabilities.renames:
            _by_server(connection, old, new)
        else:
            _by_copy(connection, old, new)


def _by_server(connection: Connection, old: str, new: str) -> None:
    try:
        connection.collection(old).rename(new)
    except OperationFailure as problem:
        # Another worker may have been faster.
        if problem.code != NAMESPACE_NOT_FOUND or not exists(connection, new):
            raise


def _by_copy(connection: Connection, old: str, new: str) -> None:
    """Copy, compare, and only then drop the old one; the mark makes a half-done copy known as ours."""
    connection.collection(MOVES).replace_one({"_id": new}, {"_id": new, "of": old}, upsert=True)
    if not exists(connection, new):
        connection.db.create_collection(new, **_creatable(options_of(connection, old)))
    for batch in raw_batches(connection, old):
        copied: list[Any] = [RawBSONDocument(raw) for raw in split(batch)]
        try:
            connection.collection(new).insert_many(copied, ordered=False)
        except BulkWriteError as problem:
            if any(error["code"] != DUPLICATE for error in problem.details["writeErrors"]):
                raise
    for index in indexes_of(connection, old):
        if list(index["key"]) != ["_id"]:
            options = {name: value for name, value in index.items() if name not in ("v", "ns", "key")}
            if not connection.capabilities.keeps_index_names:
                del options["name"]
            connection.collection(new).create_index(list(index["key"].items()), **options)
    if digests(connection, old) != digests(connection, new):
        raise DataError(
            f"collection {new!r} is not the same as {old!r} after it was copied, so {old!r} was left. "
            "See that nothing writes to it, then clear the failed task.",
            collection=old,
        )
    connection.collection(old).drop()
    _forget(connection, new)


def _creatable(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in ("uuid", "autoIndexId")}


def _under_way(connection: Connection, new: str) -> Any:
    mark = connection.collection(MOVES).find_one({"_id": new})
    return None if mark is None else mark["of"]


def _forget(connection: Connection, new: str) -> None:
    connection.collection(MOVES).delete_one({"_id": new})
