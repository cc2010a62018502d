"""The port to MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from lockstep.domain.exchange import Adopted, Applied, BackupPart
from lockstep.domain.pacing import Limits, Reading
from lockstep.domain.parked import Parked
from lockstep.domain.progress import BackupFile, Change, Cursor, Fingerprint, KeyRange, Page
from lockstep.domain.resources import Collection, Everything


class DocumentStore(Protocol):
    """One MongoDB database."""

    def check(self) -> Mapping[str, str]: ...

    def exists(self, collection: Collection) -> bool: ...

    def plan_ranges(
        self, collection: Collection, *, where: Mapping[str, Any] | None, shards: int, least: int
    ) -> list[KeyRange]: ...

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
        """Read the next documents in `_id` order as dicts, BSON types kept."""

    def fetch(self, collection: Collection, ids: Sequence[Any]) -> Mapping[str, dict[str, Any]]:
        """Return the documents with these `_id`s, by `key_text(_id)`."""

    def change(self, before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Change | None:
        """Return the change of one document into another, both encoded once and for all.

        None where the two are the same. DataError for what BSON or the server cannot hold. A document that a
        page gave is not to be changed in place: copy.deepcopy gives one that may be.
        """

    def key_text(self, document_id: Any) -> str:
        """Return an `_id` as text, one to one (extended JSON)."""

    def same(self, first: Any, second: Any) -> bool:
        """Whether two documents are equal byte for byte as BSON (field order included)."""

    def fingerprint(self, collection: Collection, *, keys_only: bool = False) -> Fingerprint:
        """Fingerprint a collection; keys_only: content and shape are not looked at, and empty."""

    def count(
        self,
        collection: Collection,
        where: Mapping[str, Any] | None = None,
        *,
        excluding: Sequence[Cursor] = (),
    ) -> int: ...

    def cursor_of(self, document: Mapping[str, Any]) -> Cursor:
        """Return a document's place in the order of `_id`, as a page's cursor gives it."""

    def width(self, collection: Collection) -> int | None:
        """Return about how many bytes a document takes; None for an empty collection."""

    def pressure(self, limits: Limits) -> list[Reading]:
        """Read the server's signals; one that cannot be read says stop, and why."""

    def apply(self, collection: Collection, changes: Sequence[Change]) -> Applied:
        """Write each change whose record still is its `before` (absent for None); idempotent."""

    def update(self, collection: Collection, update: Mapping[str, Any], befores: Sequence[Any]) -> Applied:
        """Apply update operators to each document that still is its before-image; idempotent.

        A conflict is a document that is neither that nor what the operators make of it.
        """

    def foresee(
        self, collection: Collection, update: Mapping[str, Any], befores: Sequence[Any]
    ) -> Mapping[str, Any]:
        """Return what update operators would make of documents, by key; nothing of the collection is changed."""

    def pack(self, changes: Sequence[Change]) -> bytes:
        """Encode changes for the journal (BSON, compressed)."""

    def unpack(self, packed: bytes) -> list[Change]: ...

    def create_collection(self, collection: Collection, validator: Mapping[str, Any] | None) -> bool:
        """Create it; return False where it was there."""

    def index_on(self, collection: Collection, keys: Sequence[tuple[str, Any]]) -> Mapping[str, Any] | None:
        """Return the definition of the index on these keys, or None."""

    def create_index(
        self, collection: Collection, keys: Sequence[tuple[str, Any]], name: str, options: Mapping[str, Any]
    ) -> None: ...

    def drop_index(self, collection: Collection, keys: Sequence[tuple[str, Any]]) -> None: ...

    def keeps_validators(self) -> bool:
        """Whether the server enforces validators (a probe)."""

    def validator(self, collection: Collection) -> Mapping[str, Any]: ...

    def set_validator(self, collection: Collection, validator: Mapping[str, Any]) -> None: ...

    def drop(self, collection: Collection) -> None:
        """Remove a collection that Lockstep created and that is empty; DataError if it is not."""

    def park(self, collection: Collection, parked: str) -> None:
        """Rename to `parked` (without replacing one); done already is fine."""

    def unpark(self, collection: Collection, parked: str) -> None: ...

    def backup(self, touched: Sequence[Collection | Everything]) -> Iterator[BackupPart]:
        """`<db>/<collection>.bson` and `.metadata.json`, as mongorestore reads them."""

    def open_scratch(self, name: str) -> DocumentStore:
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

    def adopt(self, source: DocumentStore, resources: Sequence[Collection | Everything]) -> Adopted:
        """Make resources here what they are in `source`, a store of the same server; everything else stays.

        Records that are the same already are not written. Interrupted, it can be done again. Refused, by name and
        before anything is changed, where something hangs on a resource that cannot be kept.
        """

    def parked(self) -> list[Parked]:
        """Return what is parked here under reserved names, with size and age as far as they are known."""

    def remove_parked(self, parked: Parked) -> None:
        """Remove one parked thing for good; gone already is fine. Refused for a name that is not reserved."""

    def portrait(self) -> dict[str, str]:
        """Return the shape of all that is in use: object, such as "table users", → its definition as text."""

    def handle(self, collection: Collection) -> Any:
        """The pymongo Collection."""
