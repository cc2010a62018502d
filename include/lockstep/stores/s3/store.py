"""The object store: one S3 bucket."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from lockstep.domain.errors import Refused
from lockstep.domain.exchange import Adopted, Applied, BackupPart
from lockstep.domain.objects import ObjectInfo, Seen, StoredObject
from lockstep.domain.pacing import Limits, Reading
from lockstep.domain.parked import Parked
from lockstep.domain.progress import BackupFile, Change, Cursor, Fingerprint, KeyRange, Page
from lockstep.domain.resources import Bucket, Everything, Prefix
from lockstep.stores.s3 import (
    adopting,
    applying,
    backup,
    loading,
    modified,
    packing,
    parking,
    portrait,
    ranges,
    reading,
    scratch,
    staging,
)
from lockstep.stores.s3.capabilities import Capabilities
from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.state import look


class S3Store:
    """Read and write the objects of one bucket; see lockstep.engine.ports for the contract."""

    def __init__(
        self, database: Bucket, client_kwargs: Mapping[str, Any], bucket: str, *, read_only: bool = False
    ) -> None:
        """`read_only`: nothing is written, not even to find out what the server can do."""
        self._take(Connection(database, client_kwargs, bucket, read_only=read_only))

    def _take(self, connection: Connection) -> None:
        self.database = connection.declared
        self._connection = connection

    def __repr__(self) -> str:
        within = f", {self._connection.root!r}" if self._connection.root else ""
        return f"S3Store({self.database.conn_id!r}, {self._connection.bucket!r}{within})"

    @property
    def capabilities(self) -> Capabilities:
        """What the server was found to be able to do; asked once."""
        return self._connection.capabilities

    def close(self) -> None:
        self._connection.close()

    def check(self) -> Mapping[str, str]:
        """Answer with server facts; Refused for a missing bucket or wrong credentials, Unavailable for no answer."""
        connection = self._connection
        with connection.translate("saying hello"):
            answer = connection.client.head_bucket(Bucket=connection.bucket)
            connection.client.list_objects_v2(Bucket=connection.bucket, MaxKeys=1)
        headers = answer["ResponseMetadata"].get("HTTPHeaders", {})
        return {
            "server": str(headers.get("server", "unknown")),
            "region": str(headers.get("x-amz-bucket-region") or connection.client.meta.region_name),
            "bucket": connection.bucket,
        }

    def plan_ranges(self, prefix: Prefix, *, suffix: str, shards: int, least: int) -> list[KeyRange]:
        return ranges.plan_ranges(self._connection, prefix, suffix=suffix, shards=shards, least=least)

    def keys(
        self,
        prefix: Prefix,
        *,
        suffix: str,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        excluding: Sequence[Cursor] = (),
    ) -> Page:
        return reading.key_page(
            self._connection,
            prefix,
            suffix=suffix,
            within=within,
            after=after,
            limit=limit,
            excluding=excluding,
        )

    def read(
        self,
        prefix: Prefix,
        *,
        suffix: str,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        excluding: Sequence[Cursor] = (),
        bodies: int | None = None,
    ) -> Page:
        return reading.read(
            self._connection,
            prefix,
            suffix=suffix,
            within=within,
            after=after,
            limit=limit,
            excluding=excluding,
            bodies=bodies,
        )

    def get(self, key: str) -> StoredObject:
        return reading.get(self._connection, key)

    def fetch(self, keys: Sequence[str]) -> dict[str, Seen]:
        return reading.fetch(self._connection, keys)

    def exists(self, key: str) -> bool:
        with self._connection.translate(f"looking for object {key!r}"):
            return look(self._connection, key) is not None

    def fingerprint(self, prefix: Prefix | Everything, *, keys_only: bool = False) -> Fingerprint:
        if keys_only:
            return reading.fingerprint_of_keys(self._connection, prefix)
        return reading.fingerprint(self._connection, prefix)

    def count(self, prefix: Prefix, suffix: str = "", *, excluding: Sequence[Cursor] = ()) -> int:
        return reading.count(self._connection, prefix, suffix, excluding)

    def cursor_of(self, key: str) -> Cursor:
        return reading.cursor_of(key)

    def pressure(self, limits: Limits) -> list[Reading]:
        return [self._connection.throttle.reading()]

    def stage(
        self, area: str, objects: Sequence[tuple[Seen | StoredObject | None, StoredObject | None]]
    ) -> list[Change]:
        return staging.stage(self._connection, area, objects)

    def stage_metadata(self, pairs: Sequence[tuple[Seen | ObjectInfo, ObjectInfo]]) -> list[Change]:
        return staging.stage_metadata(self._connection, pairs)

    def apply(self, changes: Sequence[Change], *, may_write: Callable[[], None] = lambda: None) -> Applied:
        return applying.apply(self._connection, changes, may_write)

    def stage_moves(self, moves: Sequence[tuple[str, str]]) -> list[Change]:
        return staging.stage_moves(self._connection, moves)

    def pack(self, changes: Sequence[Change]) -> bytes:
        return packing.pack(changes)

    def unpack(self, packed: bytes) -> list[Change]:
        return packing.unpack(packed)

    def swap(self, changes: Sequence[Change]) -> list[Change]:
        return staging.swap(changes)

    def backup(self, touched: Sequence[Prefix | Everything]) -> Iterator[BackupPart]:
        return backup.backup(self._connection, touched)

    def open_scratch(self, name: str) -> S3Store:
        """Make a scratch space, empty; keys of the store that is returned are relative to it.

        Its root counts: in a scratch space a key may be that much shorter than S3's 1,024 bytes.
        """
        root = scratch.open_scratch(self._connection, name)
        made = type(self).__new__(type(self))
        made._take(self._connection.below(root))
        return made

    def drop_scratch(self, name: str) -> None:
        scratch.drop_scratch(self._connection, name)

    def scratches(self) -> list[str]:
        return scratch.scratches(self._connection)

    def load(self, files: Sequence[BackupFile], read: Callable[[str], Iterator[bytes]]) -> None:
        loading.load(self._connection, files, read)

    def adopt(self, source: Any, resources: Sequence[Prefix | Everything]) -> Adopted:
        """Make objects here what they are in `source`, an S3Store of the same server."""
        if not isinstance(source, S3Store):
            raise Refused(
                f"{self!r} cannot take objects from {source!r}: that is no bucket. Nothing was changed."
            )
        return adopting.adopt(self._connection, source._connection, resources)

    def parked(self) -> list[Parked]:
        return parking.parked(self._connection)

    def remove_parked(self, parked: Parked) -> None:
        parking.remove_parked(self._connection, parked)

    def modified_since(self, prefix: Prefix, moment: datetime) -> tuple[int, bool]:
        return modified.modified_since(self._connection, prefix, moment)

    def portrait(self) -> dict[str, str]:
        return portrait.portrait(self._connection)

    def handle(self) -> Any:
        return self._connection.client, self._connection.bucket
