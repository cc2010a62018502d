"""Reduce a collection to a fingerprint in one pass, in bounded memory, whatever the physical order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lockstep.domain.progress import Fingerprint
from lockstep.domain.resources import Collection
from lockstep.stores.mongo.codec import as_json, id_bytes
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.reading import exists, is_own, raw_documents
from lockstep.stores.mongo.structure import indexes_of, options_of

#: digests are added, modulo this, so that their order does not matter
MODULUS = 2**128


def fingerprint(connection: Connection, collection: Collection) -> Fingerprint:
    """Return what a collection holds; `present` is False where there is none."""
    with connection.translate(f"fingerprinting {collection}"):
        return _whole(connection, collection.name)


def fingerprint_of_keys(connection: Connection, collection: Collection) -> Fingerprint:
    """Read nothing but the `_id`s."""
    with connection.translate(f"reading the keys of {collection}"):
        return _keys(connection, collection.name)


def fingerprint_of_all(connection: Connection, *, keys_only: bool) -> Fingerprint:
    """Return what all collections hold together, Lockstep's own and the server's left out."""
    one = _keys if keys_only else _whole
    with connection.translate("fingerprinting every collection"):
        names = sorted(name for name in connection.db.list_collection_names() if not is_own(name))
        found = [(name, one(connection, name)) for name in names]

    def together(part: str) -> str:
        listed = [[name, getattr(held, part)] for name, held in found]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    return Fingerprint(
        present=True,
        count=sum(held.count for _, held in found),
        keys=together("keys"),
        content="" if keys_only else together("content"),
        shape="" if keys_only else together("shape"),
    )


def _whole(connection: Connection, name: str) -> Fingerprint:
    if not exists(connection, name):
        return Fingerprint(present=False)
    shape = shape_of(connection, name)
    count, keys, content = digests(connection, name)
    return Fingerprint(present=True, count=count, keys=keys, content=content, shape=shape)


def _keys(connection: Connection, name: str) -> Fingerprint:
    count = keys = 0
    if not exists(connection, name):
        return Fingerprint(present=False)
    for raw in raw_documents(connection, name, only=("_id",)):
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
    indexes = sorted(as_json(meaning(index, named=named)) for index in indexes_of(connection, name))
    options = options_of(connection, name)
    kept = {"indexes": indexes, "options": as_json(rules(options), sort=True)}
    return hashlib.sha256(as_json(kept).encode()).hexdigest()


def meaning(index: Mapping[str, Any], *, named: bool) -> list[Any]:
    """Return what an index does; its name too, where the server keeps names."""
    rest = {name: value for name, value in index.items() if name not in ("v", "ns", "key", "name")}
    keys = [[name, _number(direction)] for name, direction in index["key"].items()]
    return [index["name"] if named else "", keys, as_json(rest, sort=True)]


def _number(direction: Any) -> Any:
    # Shells write 1.0, drivers 1.
    return int(direction) if isinstance(direction, float) else direction


def rules(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a collection's options, with what a server leaves out where it is usual."""
    kept = {name: value for name, value in options.items() if not name.startswith("validat")}
    if options.get("validator"):
        kept["validator"] = options["validator"]
        kept["validationLevel"] = options.get("validationLevel", "strict")
        kept["validationAction"] = options.get("validationAction", "error")
    return kept
