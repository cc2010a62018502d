"""Reduce a collection to a fingerprint in one pass, in bounded memory, whatever the physical order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from lockstep.domain.progress import Fingerprint
from lockstep.domain.resources import Collection
from lockstep.stores.mongo.codec import as_json, id_bytes
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.reading import exists, raw_documents
from lockstep.stores.mongo.structure import indexes_of, options_of

#: digests are added, modulo this, so that their order does not matter
MODULUS = 2**128


def fingerprint(connection: Connection, collection: Collection) -> Fingerprint:
    """Return what a collection holds; `present` is False where there is none."""
    with connection.translate(f"fingerprinting {collection}"):
        if not exists(connection, collection.name):
            return Fingerprint(present=False)
        shape = shape_of(connection, collection.name)
        count, keys, content = digests(connection, collection.name)
    return Fingerprint(present=True, count=count, keys=keys, content=content, shape=shape)


def fingerprint_of_keys(connection: Connection, collection: Collection) -> Fingerprint:
    """Read nothing but the `_id`s."""
    count = keys = 0
    with connection.translate(f"reading the keys of {collection}"):
        if not exists(connection, collection.name):
            return Fingerprint(present=False)
        for raw in raw_documents(connection, collection.name, only=("_id",)):
            count += 1
            keys += _digest(id_bytes(raw))
    return Fingerprint(present=True, count=count, keys=f"{keys % MODULUS:032x}")


def digests(connection: Connection, name: str) -> tuple[int, str, str]:
    """Return the number of documents, and the digests of their `_id`s and of all of them."""
    count = keys = content = 0
    for raw in raw_documents(connection, name):
        count += 1
        keys += _digest(id_bytes(raw))
        content += _digest(raw)
    return count, f"{keys % MODULUS:032x}", f"{content % MODULUS:032x}"


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest(), "big")


def shape_of(connection: Connection, name: str) -> str:
    """Return the digest of indexes and options, as far as they mean anything."""
    named = connection.capabilities.keeps_index_names
    indexes = sorted(as_json(_meaning(index, named=named)) for index in indexes_of(connection, name))
    options = options_of(connection, name)
    kept = {"indexes": indexes, "options": as_json(_rules(options), sort=True)}
    return hashlib.sha256(as_json(kept).encode()).hexdigest()


def _meaning(index: Mapping[str, Any], *, named: bool) -> list[Any]:
    rest = {name: value for name, value in index.items() if name not in ("v", "ns", "key", "name")}
    keys = [[name, _number(direction)] for name, direction in index["key"].items()]
    return [index["name"] if named else "", keys, as_json(rest, sort=True)]


def _number(direction: Any) -> Any:
    # Shells write 1.0, drivers 1.
    return int(direction) if isinstance(direction, float) else direction


def _rules(options: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if not name.startswith("validat")}
    if options.get("validator"):
        kept["validator"] = options["validator"]
        kept["validationLevel"] = options.get("validationLevel", "strict")
        kept["validationAction"] = options.get("validationAction", "error")
    return kept
