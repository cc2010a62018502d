"""Copy objects into a backup as they are, and list them in `objects.jsonl`, a line an object."""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence

from lockstep.domain.exchange import BackupPart
from lockstep.domain.resources import Everything, Prefix
from lockstep.stores.s3.connection import WORKERS, Connection
from lockstep.stores.s3.reading import key_pages
from lockstep.stores.s3.state import CHUNK, State, from_answer, look

#: bytes of a key that fit beside the backup's own folder; a longer one is cut, and ends in its digest
LONGEST_NAME = 700
#: bytes of the list that are held in memory before it goes to a file
SPOOLED = 1024 * 1024


def backup(connection: Connection, touched: Sequence[Prefix | Everything]) -> Iterator[BackupPart]:
    """Yield a part for each object, then the list of them."""
    catalogue = _Catalogue(connection)
    for prefix in prefixes(touched):
        with connection.translate(f"listing {prefix or 'every object'}"):
            for page in key_pages(connection, prefix):
                for start in range(0, len(page), WORKERS * 4):
                    part = page[start : start + WORKERS * 4]
                    states = connection.each(lambda key: look(connection, key), part)
                    for key, state in zip(part, list(states), strict=True):
                        if state is not None:
                            yield catalogue.part(key, state)
    yield BackupPart(
        name="objects.jsonl",
        holds="object list",
        chunks=catalogue.lines,
        count=lambda: len(catalogue),
        content_type="application/x-ndjson",
    )


def prefixes(touched: Sequence[Prefix | Everything]) -> list[str]:
    """Return prefixes of which none lies in another, so that each object is met once."""
    names = sorted({"" if isinstance(one, Everything) else one.name for one in touched})
    kept: list[str] = []
    for name in names:
        if not kept or not name.startswith(kept[-1]):
            kept.append(name)
    return kept


def name_of(key: str) -> str:
    """Return the name of an object's part."""
    encoded = key.encode()
    if len(encoded) <= LONGEST_NAME:
        return f"objects/{key}"
    return f"objects/{encoded[: LONGEST_NAME - 80].decode(errors='ignore')}~{hashlib.sha256(encoded).hexdigest()}"


class _Catalogue:
    """Keep a line for each object that was read, outside of memory; parts may be read side by side."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._lines = tempfile.SpooledTemporaryFile(max_size=SPOOLED)  # noqa: SIM115
        self._keys = tempfile.SpooledTemporaryFile(max_size=SPOOLED)  # noqa: SIM115
        for file in (self._lines, self._keys):
            weakref.finalize(self, file.close)
        #: a byte an object: whether its line is there
        self._done = bytearray()

    def __len__(self) -> int:
        return len(self._done)

    def part(self, key: str, state: State) -> BackupPart:
        place = len(self._done)
        self._done.append(0)
        self._keys.write(json.dumps(key).encode() + b"\n")
        return BackupPart(
            name=name_of(key),
            holds="object",
            chunks=lambda: self._body(place, key),
            count=lambda: 1,
            content_type=state["content_type"],
            metadata=state["metadata"],
        )

    def _body(self, place: int, key: str) -> Iterator[bytes]:
        digest = hashlib.sha256()
        with self._connection.translate(f"backing up object {key!r}"):
            answer = self._connection.client.get_object(Bucket=self._connection.bucket, Key=key)
            try:
                for chunk in answer["Body"].iter_chunks(CHUNK):
                    digest.update(chunk)
                    yield chunk
            finally:
                answer["Body"].close()
            line = _line(key, digest.hexdigest(), from_answer(self._connection, key, answer))
        with self._lock:
            if not self._done[place]:
                self._done[place] = 1
                self._lines.seek(0, 2)
                self._lines.write(line)

    def lines(self) -> Iterator[bytes]:
        """Yield the lines. An object whose part is still being read is read here: nobody waits for anybody."""
        with self._lock:
            end = self._lines.seek(0, 2)
            done = bytes(self._done)
        at = 0
        while at < end:
            with self._lock:
                self._lines.seek(at)
                chunk = self._lines.read(min(CHUNK, end - at))
            at += len(chunk)
            yield chunk
        self._keys.seek(0)
        for place, key in enumerate(self._keys):
            if not done[place]:
                yield self._read(json.loads(key))

    def _read(self, key: str) -> bytes:
        digest = hashlib.sha256()
        with self._connection.translate(f"backing up object {key!r}"):
            answer = self._connection.client.get_object(Bucket=self._connection.bucket, Key=key)
            try:
                for chunk in answer["Body"].iter_chunks(CHUNK):
                    digest.update(chunk)
            finally:
                answer["Body"].close()
            return _line(key, digest.hexdigest(), from_answer(self._connection, key, answer))


def _line(key: str, sha256: str, state: State) -> bytes:
    found = {
        "key": key,
        "size": state["size"],
        "sha256": sha256,
        "content_type": state["content_type"],
        "metadata": state["metadata"],
        "tags": state["tags"],
        "headers": state["headers"],
        "file": name_of(key),
    }
    return json.dumps(found, ensure_ascii=False).encode() + b"\n"
