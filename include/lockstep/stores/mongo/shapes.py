"""Give a collection the options, indexes and rules that another one had, as its definition tells them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.stores.mongo.codec import as_json, plain
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.fingerprints import meaning, rules
from lockstep.stores.mongo.structure import indexes_of, options_of

#: options that can be changed while a collection holds documents
CHANGEABLE = ("validator", "validationLevel", "validationAction", "changeStreamPreAndPostImages")
#: what a server tells of a collection and takes from nobody
_ITS_OWN = ("uuid", "autoIndexId")

Options = Mapping[str, Any]
Index = Mapping[str, Any]


def plain_options(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a listing tells of a collection."""
    return dict(plain(info.get("options") or {}))


def fixed(options: Options) -> dict[str, Any]:
    """Return the options that a collection keeps for life."""
    return {name: value for name, value in options.items() if name not in (*CHANGEABLE, *_ITS_OWN)}


def create(connection: Connection, name: str, options: Options) -> None:
    """Create a collection or view without what would refuse documents: that comes last."""
    connection.db.create_collection(name, check_exists=False, **fixed(options))


def set_rules(connection: Connection, name: str, options: Options) -> bool:
    """Set validator and what else can be changed where it differs; say whether it did."""
    wanted = {key: value for key, value in options.items() if key in CHANGEABLE}
    now = {key: value for key, value in options_of(connection, name).items() if key in CHANGEABLE}
    if not connection.capabilities.keeps_validators or _plain(wanted) == _plain(now):
        return False
    change: dict[str, Any] = {
        "validator": wanted.get("validator", {}),
        "validationLevel": wanted.get("validationLevel", "strict"),
        "validationAction": wanted.get("validationAction", "error"),
    }
    images = "changeStreamPreAndPostImages"
    if images in wanted or images in now:
        change[images] = wanted.get(images, {"enabled": False})
    connection.db.command("collMod", name, **change)
    return True


def _plain(options: Options) -> str:
    images = options.get("changeStreamPreAndPostImages", {"enabled": False})
    return as_json({**rules(options), "changeStreamPreAndPostImages": images}, sort=True)


def make_indexes(connection: Connection, name: str, wanted: Sequence[Index]) -> bool:
    """Build the indexes that are missing; say whether any was."""
    there = set(_meanings(connection, indexes_of(connection, name)))
    missing = [
        _definition(connection, index)
        for index, means in zip(wanted, _meanings(connection, wanted), strict=True)
        if means not in there and not is_of_ids(index)
    ]
    if missing:
        # As a command: the driver's own call takes no direction that is a float, as shells write it.
        connection.db.command("createIndexes", name, indexes=missing)
    return bool(missing)


def drop_others(connection: Connection, name: str, wanted: Sequence[Index]) -> bool:
    """Drop the indexes that are not wanted; say whether there were any."""
    kept = set(_meanings(connection, wanted))
    now = indexes_of(connection, name)
    others = [
        index
        for index, means in zip(now, _meanings(connection, now), strict=True)
        if means not in kept and not is_of_ids(index)
    ]
    for index in others:
        connection.collection(name).drop_index(index["name"])
    return bool(others)


def is_of_ids(index: Index) -> bool:
    return list(index["key"]) == ["_id"]


def _meanings(connection: Connection, indexes: Sequence[Index]) -> list[str]:
    named = connection.capabilities.keeps_index_names
    return [as_json(meaning(index, named=named)) for index in indexes]


def _definition(connection: Connection, index: Index) -> dict[str, Any]:
    kept = {name: value for name, value in index.items() if name not in ("ns", "background")}
    if not connection.capabilities.keeps_index_names:
        # It would be told of an index by that name that it knows by another.
        kept.pop("name", None)
    return kept
