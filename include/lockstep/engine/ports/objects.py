"""The port to S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from lockstep.domain.exchange import Applied, BackupPart
from lockstep.domain.objects import ObjectInfo, StoredObject
from lockstep.domain.pacing import Limits, Reading
from lockstep.domain.progress import Change, Cursor, Fingerprint, KeyRange, Page
from lockstep.domain.resources import Everything, Prefix


class ObjectStore(Protocol):
    """One S3 bucket."""

    def check(self) -> Mapping[str, str]: ...

    def plan_ranges(self, prefix: Prefix, *, suffix: str, shards: int, least: int) -> list[KeyRange]: ...

    def read(
        self,
        prefix: Prefix,
        *,
        suffix: str,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        excluding: Sequence[Cursor] = (),
    ) -> Page:
        """Read the next objects' ObjectInfo in key order (content type, metadata and tags included)."""

    def get(self, key: str) -> StoredObject: ...

    def exists(self, key: str) -> bool: ...

    def fingerprint(self, prefix: Prefix) -> Fingerprint:
        """Of keys, bodies (SHA-256), content types, metadata and tags."""

    def count(self, prefix: Prefix, suffix: str = "", *, excluding: Sequence[Cursor] = ()) -> int: ...

    def cursor_of(self, key: str) -> Cursor:
        """Return an object's place in the key order, as a page's cursor gives it."""

    def pressure(self, limits: Limits) -> list[Reading]:
        """Say slow after a SlowDown answer of the last minute, and stop after several; what was read otherwise."""

    def stage(
        self, area: str, objects: Sequence[tuple[StoredObject | None, StoredObject | None]]
    ) -> list[Change]:
        """Keep before- and after-images below `_lockstep/journal/<area>/`; return changes that name them.

        Each pair is (what is there, what is to be there). Same content twice at the same area is fine.
        """

    def stage_metadata(self, pairs: Sequence[tuple[ObjectInfo, ObjectInfo]]) -> list[Change]:
        """Return changes of content type, metadata and tags alone; no body is read."""

    def apply(self, changes: Sequence[Change]) -> Applied:
        """Write each change whose object still is its `before`; server-side copies; idempotent."""

    def stage_moves(self, moves: Sequence[tuple[str, str]]) -> list[Change]:
        """Return changes that move objects (from key, to key); DataError where a target key exists."""

    def pack(self, changes: Sequence[Change]) -> bytes: ...

    def unpack(self, packed: bytes) -> list[Change]: ...

    def swap(self, changes: Sequence[Change]) -> list[Change]:
        """Return the changes that take these back, last first."""

    def backup(self, touched: Sequence[Prefix | Everything]) -> Iterator[BackupPart]:
        """`objects/<key>` copies and `objects.jsonl`, a line an object."""

    def handle(self) -> Any:
        """The boto3 S3 client and the bucket's name, as a pair."""
