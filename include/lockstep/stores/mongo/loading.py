"""Put a dump into a database that has none of its collections yet: documents first, then what rules them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from bson.errors import BSONError
from pymongo.errors import BulkWriteError

from lockstep.domain.errors import BackupNotProven, DataError, LockstepError
from lockstep.domain.progress import BackupFile
from lockstep.stores.checked import Checked, Read, whole
from lockstep.stores.mongo.changes import LARGEST
from lockstep.stores.mongo.codec import Document, Raw, from_json
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.errors import TRANSIENT
from lockstep.stores.mongo.shapes import create, make_indexes, set_rules

DOCUMENTS = ".bson"
METADATA = ".metadata.json"
#: of documents that one command carries
AT_ONCE = 1000
BYTES = 8 * 1024 * 1024
#: bytes beyond LARGEST that a server may need for a document of its own
_ROOM = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class _Dumped:
    """One collection or view of a dump."""

    name: str
    kind: str
    options: Document
    indexes: Sequence[Document]
    documents: BackupFile | None


def load(connection: Connection, files: Sequence[BackupFile], read: Read) -> None:
    """Load every collection, then the views on them.

    BackupNotProven names a file that is not what was written; DataError, what the server does not take of it.
    """
    dumped = list(_dumped(files, read))
    for one in sorted(dumped, key=lambda one: one.kind == "view"):
        with connection.translate(f"restoring collection {one.name}"):
            create(connection, one.name, one.options)
            if one.documents is not None:
                _fill(connection, one.name, one.documents, read)
            if one.kind == "collection":
                make_indexes(connection, one.name, one.indexes)
                set_rules(connection, one.name, one.options)


def _dumped(files: Sequence[BackupFile], read: Read) -> Iterator[_Dumped]:
    documents = {file.path[: -len(DOCUMENTS)]: file for file in files if not file.path.endswith(METADATA)}
    for file in files:
        if file.path.endswith(METADATA):
            stem = file.path[: -len(METADATA)]
            told = from_json(whole(file, read).decode())
            yield _Dumped(
                name=told.get("collectionName") or unquote(stem.rpartition("/")[2]),
                kind=told.get("type", "collection"),
                options=told.get("options") or {},
                indexes=told.get("indexes") or (),
                documents=documents.pop(stem, None),
            )
    if documents:
        alone = min(file.path for file in documents.values())
        raise BackupNotProven(
            f"the manifest names {alone} and no {METADATA} beside it. Use another backup.", path=alone
        )


def _fill(connection: Connection, name: str, file: BackupFile, read: Read) -> None:
    stream = Checked(file, read)
    try:
        for batch in batches(documents_of(stream, file.path)):
            _insert(connection, name, batch, file.path)
    except BackupNotProven:
        raise
    except LockstepError:
        # A flipped byte may be met as a document that nobody takes, or that breaks the conversation.
        stream.settle()
        raise


def documents_of(chunks: Iterable[bytes], path: str) -> Iterator[bytes]:
    """Cut a stream of BSON into its documents; DataError where it ends within one."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        at = 0
        while len(held) - at >= 4:
            size = int.from_bytes(held[at : at + 4], "little")
            if not 5 <= size <= LARGEST + _ROOM:
                raise _torn(path, f"a document of {size} bytes")
            if len(held) - at < size:
                break
            yield bytes(held[at : at + size])
            at += size
        del held[:at]
    if held:
        raise _torn(path, "an end within a document")


def _torn(path: str, found: str) -> DataError:
    return DataError(f"{path} is torn: it has {found}. Use another backup.", path=path)


def batches(documents: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Gather documents, as many as one command takes."""
    batch: list[bytes] = []
    size = 0
    for raw in documents:
        if batch and (len(batch) == AT_ONCE or size + len(raw) > BYTES):
            yield batch
            batch, size = [], 0
        batch.append(raw)
        size += len(raw)
    if batch:
        yield batch


def _insert(connection: Connection, name: str, batch: Sequence[bytes], path: str) -> None:
    with connection.translate(f"restoring collection {name} from {path}"):
        try:
            connection.writer(name).insert_many(_raws(batch, path), ordered=False)
        except BulkWriteError as problem:
            error: dict[str, Any] = next(iter(problem.details.get("writeErrors", ())), {})
            said = str(error.get("errmsg", problem))[:200]
            if error.get("code") in TRANSIENT or not error:
                raise connection.translate.unavailable(f"restoring collection {name}", said) from problem
            raise DataError(
                f"{connection.translate.where} does not take a document of {path} into collection {name}: {said}. "
                "Look whether the collection was there already, and at that document.",
                path=path,
                collection=name,
            ) from problem


def _raws(batch: Sequence[bytes], path: str) -> list[Raw]:
    try:
        return [Raw(raw) for raw in batch]
    except BSONError as problem:
        raise _torn(path, f"what is no document ({problem})") from problem
