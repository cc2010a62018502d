"""The document store: one MongoDB database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from lockstep.domain.errors import Refused
from lockstep.domain.exchange import Adopted, Applied, BackupPart
from lockstep.domain.pacing import Limits, Reading
from lockstep.domain.parked import Parked
from lockstep.domain.progress import BackupFile, Change, Cursor, Fingerprint, KeyRange, Page
from lockstep.domain.resources import RESERVED, Collection, Everything, Mongo
from lockstep.stores.mongo import (
    adopting,
    applying,
    backup,
    changes,
    codec,
    fingerprints,
    foreseeing,
    loading,
    packing,
    parks,
    portrait,
    ranges,
    reading,
    scratch,
    signals,
    structure,
)
from lockstep.stores.mongo.capabilities import Capabilities
from lockstep.stores.mongo.connection import Connection


class MongoStore:
    """Read and write the documents of one database; see lockstep.engine.ports for the contract."""

    def __init__(self, database: Mongo, uri: str, dbname: str, *, read_only: bool = False) -> None:
        """`read_only`: nothing is written, not even to find out what the server can do."""
        self._take(Connection(database, uri, dbname, read_only=read_only))

    def _take(self, connection: Connection) -> None:
        self.database = connection.declared
        self._connection = connection

    def __repr__(self) -> str:
        return f"MongoStore({self.database.conn_id!r}, {self._connection.dbname!r})"

    @property
    def capabilities(self) -> Capabilities:
        """What the server was found to be able to do; asked once."""
        return self._connection.capabilities

    def close(self) -> None:
        self._connection.close()

    def check(self) -> Mapping[str, str]:
        """Answer with server facts; Refused for wrong credentials, Unavailable for no answer."""
        connection = self._connection
        with connection.translate("saying hello"):
            hello = connection.client.admin.command("hello")
            version = connection.client.admin.command("buildInfo").get("version", "unknown")
            connection.db.list_collection_names()
        return {
            "server": f"MongoDB protocol {hello.get('maxWireVersion', 'unknown')}",
            "version": str(version),
            "database": connection.dbname,
            "topology": f"replica set {hello['setName']}" if "setName" in hello else "single server",
        }

    def exists(self, collection: Collection) -> bool:
        with self._connection.translate(f"looking for {collection}"):
            return reading.exists(self._connection, collection.name)

    def plan_ranges(
        self, collection: Collection, *, where: Mapping[str, Any] | None, shards: int, least: int
    ) -> list[KeyRange]:
        return ranges.plan_ranges(self._connection, collection, where=where, shards=shards, least=least)

    def read(
        self,
        collection: Collection,
        *,
        where: Mapping[str, Any] | None,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        excluding: Sequence[Cursor] = (),
    ) -> Page:
        return reading.read(
            self._connection,
            collection,
            where=where,
            within=within,
            after=after,
            limit=limit,
            excluding=excluding,
        )

    def fetch(self, collection: Collection, ids: Sequence[Any]) -> Mapping[str, dict[str, Any]]:
        return reading.fetch(self._connection, collection, ids)

    def key_text(self, document_id: Any) -> str:
        return codec.key_text(document_id)

    def same(self, first: Any, second: Any) -> bool:
        if first is None or second is None:
            return first is second
        return codec.encode(first) == codec.encode(second)

    def fingerprint(self, collection: Collection | Everything, *, keys_only: bool = False) -> Fingerprint:
        if isinstance(collection, Everything):
            return fingerprints.fingerprint_of_all(self._connection, keys_only=keys_only)
        if keys_only:
            return fingerprints.fingerprint_of_keys(self._connection, collection)
        return fingerprints.fingerprint(self._connection, collection)

    def count(
        self,
        collection: Collection,
        where: Mapping[str, Any] | None = None,
        *,
        excluding: Sequence[Cursor] = (),
    ) -> int:
        return reading.count(self._connection, collection, where, excluding)

    def cursor_of(self, document: Mapping[str, Any]) -> Cursor:
        return codec.key_text(document["_id"])

    def width(self, collection: Collection) -> int | None:
        return reading.width(self._connection, collection)

    def pressure(self, limits: Limits) -> list[Reading]:
        return signals.pressure(self._connection, limits)

    def change(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Change | None:
        return changes.change(before, after)

    def apply(self, collection: Collection, changes: Sequence[Change]) -> Applied:
        return applying.apply(self._connection, collection, changes)

    def update(self, collection: Collection, update: Mapping[str, Any], befores: Sequence[Any]) -> Applied:
        return applying.update(self._connection, collection, update, befores)

    def foresee(
        self, collection: Collection, update: Mapping[str, Any], befores: Sequence[Any]
    ) -> Mapping[str, Any]:
        return foreseeing.foresee(self._connection, collection, update, befores)

    def pack(self, changes: Sequence[Change]) -> bytes:
        return packing.pack(changes)

    def unpack(self, packed: bytes) -> list[Change]:
        return packing.unpack(packed)

    def create_collection(self, collection: Collection, validator: Mapping[str, Any] | None) -> bool:
        return structure.create_collection(self._connection, collection, validator)

    def index_on(self, collection: Collection, keys: Sequence[tuple[str, Any]]) -> Mapping[str, Any] | None:
        return structure.index_on(self._connection, collection, keys)

    def create_index(
        self, collection: Collection, keys: Sequence[tuple[str, Any]], name: str, options: Mapping[str, Any]
    ) -> None:
        structure.create_index(self._connection, collection, keys, name, options)

    def drop_index(self, collection: Collection, keys: Sequence[tuple[str, Any]]) -> None:
        structure.drop_index(self._connection, collection, keys)

    def keeps_validators(self) -> bool:
        return self.capabilities.keeps_validators

    def validator(self, collection: Collection) -> Mapping[str, Any]:
        return structure.validator(self._connection, collection)

    def set_validator(self, collection: Collection, validator: Mapping[str, Any]) -> None:
        structure.set_validator(self._connection, collection, validator)

    def drop(self, collection: Collection) -> None:
        structure.drop(self._connection, collection)

    def park(self, collection: Collection, parked: str) -> None:
        parks.park(self._connection, collection.name, _reserved(parked))

    def unpark(self, collection: Collection, parked: str) -> None:
        parks.unpark(self._connection, collection.name, _reserved(parked))

    def backup(self, touched: Sequence[Collection | Everything]) -> Iterator[BackupPart]:
        return backup.backup(self._connection, touched)

    def open_scratch(self, name: str) -> MongoStore:
        made = type(self).__new__(type(self))
        made._take(scratch.open_scratch(self._connection, name))
        return made

    def drop_scratch(self, name: str) -> None:
        scratch.drop_scratch(self._connection, name)

    def scratches(self) -> list[str]:
        return scratch.scratches(self._connection)

    def load(self, files: Sequence[BackupFile], read: Callable[[str], Iterator[bytes]]) -> None:
        loading.load(self._connection, files, read)

    def adopt(self, source: Any, resources: Sequence[Collection | Everything]) -> Adopted:
        """Make collections here what they are in `source`, a MongoStore of the same server."""
        if not isinstance(source, MongoStore):
            raise Refused(f"{self!r} cannot take documents from {source!r}. Nothing was changed.")
        return adopting.adopt(self._connection, source._connection, resources)

    def parked(self) -> list[Parked]:
        return parks.parked(self._connection)

    def remove_parked(self, parked: Parked) -> None:
        parks.remove_parked(self._connection, parked)

    def portrait(self) -> dict[str, str]:
        return portrait.portrait(self._connection)

    def handle(self, collection: Collection) -> Any:
        return self._connection.writer(collection.name)


def _reserved(parked: str) -> str:
    if not parked.startswith(RESERVED):
        raise Refused(f"{parked!r} is no name to park under: it must start with {RESERVED!r}.", parked=parked)
    return parked
