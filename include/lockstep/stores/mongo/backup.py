"""Dump collections as mongodump does: `<db>/<collection>.bson` and `<db>/<collection>.metadata.json`.

The layout and the metadata's fields are those of the MongoDB Database Tools (mongodump, directory output):
raw BSON documents in a row, and one line of canonical extended JSON with options, indexes, collectionName
and type.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from bson.binary import Binary

from lockstep.domain.errors import Unsupported
from lockstep.domain.exchange import BackupPart
from lockstep.domain.resources import Collection, Everything
from lockstep.stores.mongo.codec import as_json, plain
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.reading import is_own, raw_batches, split
from lockstep.stores.mongo.structure import indexes_of


def backup(connection: Connection, touched: Sequence[Collection | Everything]) -> Iterator[BackupPart]:
    """Yield two parts for each collection that is there."""
    with connection.translate("listing collections"):
        found = list(connection.db.list_collections())
    everything = any(isinstance(resource, Everything) for resource in touched)
    named = {resource.name for resource in touched if isinstance(resource, Collection)}
    for one in sorted(found, key=lambda one: str(one["name"])):
        name = one["name"]
        if name not in named and not (everything and not is_own(name)):
            continue
        if one.get("type") == "timeseries":
            raise Unsupported(
                f"collection {name} of {connection.translate.where} is a time series, and cannot be backed up here. "
                "Back it up with mongodump, and leave it out of the revision.",
                collection=name,
            )
        path = f"{_escaped(connection.dbname)}/{_escaped(name)}"
        if one.get("type", "collection") == "collection":
            yield _documents(connection, name, f"{path}.bson")
        yield _metadata(connection, one, f"{path}.metadata.json")


def _documents(connection: Connection, name: str, path: str) -> BackupPart:
    counted = 0
    read = False

    def chunks() -> Iterator[bytes]:
        nonlocal counted, read
        counted = 0
        with connection.translate(f"backing up collection {name}"):
            for batch in raw_batches(connection, name):
                counted += len(list(split(batch)))
                yield batch
        read = True

    return BackupPart(name=path, holds="documents", chunks=chunks, count=lambda: counted if read else None)


def _metadata(connection: Connection, found: Mapping[str, Any], path: str) -> BackupPart:
    def chunks() -> Iterator[bytes]:
        with connection.translate(f"backing up the indexes of collection {found['name']}"):
            yield metadata(found, indexes_of(connection, found["name"])).encode()

    return BackupPart(name=path, holds="metadata", chunks=chunks, content_type="application/json")


def metadata(found: Mapping[str, Any], indexes: Sequence[Mapping[str, Any]]) -> str:
    """Return a collection's `.metadata.json`."""
    kept: dict[str, Any] = {}
    if found.get("options"):
        kept["options"] = plain(found["options"])
    kept["indexes"] = list(indexes)
    uuid = found.get("info", {}).get("uuid")
    if isinstance(uuid, Binary):
        kept["uuid"] = uuid.hex()
    kept["collectionName"] = found["name"]
    kept["type"] = found.get("type", "collection")
    return as_json(kept)


def _escaped(name: str) -> str:
    """Escape a name for a file, as the Database Tools do (Go's url.PathEscape, and ':')."""
    return quote(name, safe="$&+=@")
