"""The port to S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from lockstep.domain.exchange import Adopted, Applied, BackupPart
from lockstep.domain.objects import ObjectInfo, Seen, StoredObject
from lockstep.domain.pacing import Limits, Reading
from lockstep.domain.parked import Parked
from lockstep.domain.progress import BackupFile, Change, Cursor, Fingerprint, KeyRange, Page
from lockstep.domain.resources import Everything, Prefix


class ObjectStore(Protocol):
    """One S3 bucket."""

    def check(self) -> Mapping[str, str]: ...

    def plan_ranges(self, prefix: Prefix, *, suffix: str, shards: int, least: int) -> list[KeyRange]: ...

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
        """List the next keys in their order."""

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
        """Read the next objects in key order as Seen: of ObjectInfo, or of StoredObject where bodies are wanted.

        bodies: bytes that they may have together, unless the first alone has more.
        """

    def get(self, key: str) -> StoredObject: ...

    def fetch(self, keys: Sequence[str]) -> Mapping[str, Seen]:
        """Return the objects with these keys, by key, bodies included, of those that are there."""

    def exists(self, key: str) -> bool: ...

    def fingerprint(self, prefix: Prefix, *, keys_only: bool = False) -> Fingerprint:
        """Of keys, bodies (SHA-256), content types, metadata and tags; keys_only: of keys alone."""

    def count(self, prefix: Prefix, suffix: str = "", *, excluding: Sequence[Cursor] = ()) -> int: ...

    def cursor_of(self, key: str) -> Cursor:
        """Return an object's place in the key order, as a page's cursor gives it."""

    def pressure(self, limits: Limits) -> list[Reading]:
        """Say slow after a SlowDown answer of the last minute, and stop after several; what was read otherwise."""

    def stage(
        self, area: str, objects: Sequence[tuple[Seen | StoredObject | None, StoredObject | None]]
    ) -> list[Change]:
        """Return changes that hold the bodies before and after, or name them below `_lockstep/journal/<area>/`.

        Small bodies travel in the change, and with it in the journal; large ones are kept in the bucket. Each
        pair is (what is there, what is to be there). Same content twice at the same area is fine.
        """

    def stage_metadata(self, pairs: Sequence[tuple[Seen | ObjectInfo, ObjectInfo]]) -> list[Change]:
        """Return changes of content type, metadata and tags alone; no body is read."""

    def apply(self, changes: Sequence[Change], *, may_write: Callable[[], None] = lambda: None) -> Applied:
        """Write each change whose object still is its `before`; server-side copies; idempotent.

        `may_write` is called right before each write, in any thread; what it raises ends the rest.
        """

    def stage_moves(self, moves: Sequence[tuple[str, str]]) -> list[Change]:
        """Return changes that move objects (from key, to key); DataError where a target key exists."""

    def pack(self, changes: Sequence[Change]) -> bytes: ...

    def unpack(self, packed: bytes) -> list[Change]: ...

    def swap(self, changes: Sequence[Change]) -> list[Change]:
        """Return the changes that take these back, last first."""

    def backup(self, touched: Sequence[Prefix | Everything]) -> Iterator[BackupPart]:
        """`objects/<key>` copies and `objects.jsonl`, a line an object."""

    def open_scratch(self, name: str) -> ObjectStore:
        """Make an empty scratch space of this name on the same server, and return a store that works in it.

        One that is there already is emptied first. Refused, naming the right that is missing, where the role may
        make none; and for a name that domain.scratch does not allow.
        """

    def drop_scratch(self, name: str) -> None:
        """Remove a scratch space with all that is in it; one that is not there is fine."""

    def scratches(self) -> list[str]:
        """Return the names of all scratch spaces on the server."""

    def load(self, files: Sequence[BackupFile], read: Callable[[str], Iterator[bytes]]) -> None:
        """Put a backup of this kind into this store, which holds none of its resources yet; bounded memory.

        read: path → its bytes. The files are those of one manifest.
        """

    def adopt(self, source: ObjectStore, resources: Sequence[Prefix | Everything]) -> Adopted:
        """Make resources here what they are in `source`, a store of the same server; everything else stays.

        Records that are the same already are not written. Interrupted, it can be done again. Refused, by name and
        before anything is changed, where something hangs on a resource that cannot be kept.
        """

    def parked(self) -> list[Parked]:
        """Return what is parked here under reserved names, with size and age as far as they are known."""

    def remove_parked(self, parked: Parked) -> None:
        """Remove one parked thing for good; gone already is fine. Refused for a name that is not reserved."""

    def modified_since(self, prefix: Prefix, moment: datetime) -> tuple[int, bool]:
        """Return how many objects were written after a moment, and whether all of them were looked at."""

    def portrait(self) -> dict[str, str]:
        """Return the shape of all that is in use: object, such as "table users", → its definition as text."""

    def handle(self) -> Any:
        """The boto3 S3 client and the bucket's name, as a pair."""
