"""Keep objects in files: one file an object, its header and its body replaced in one rename.

    <root>/buckets/b-<quoted name>/bucket.json
    <root>/buckets/b-<quoted name>/objects/<first two digits>/<sha256 of the key>

An object's file is one line of JSON, which holds the key, and then the body. A name made of a hash is short
and has neither separators nor '..' in it, whatever the key holds.
"""

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

Header = dict[str, Any]


class ObjectFiles:
    """Read and write buckets and objects below one folder."""

    def __init__(self, root: Path) -> None:
        self._buckets = root / "buckets"
        self._half_written = root / "tmp"
        self._serial = itertools.count()
        shutil.rmtree(self._half_written, ignore_errors=True)
        for folder in (self._buckets, self._half_written):
            folder.mkdir(parents=True, exist_ok=True)

    def buckets(self) -> Iterator[Header]:
        """Yield the header of every bucket."""
        for path in sorted(self._buckets.glob("*/bucket.json")):
            yield json.loads(path.read_text())

    def put_bucket(self, name: str, header: Header) -> None:
        """Write a bucket down."""
        (self._bucket(name) / "objects").mkdir(parents=True, exist_ok=True)
        self._replace(self._bucket(name) / "bucket.json", [json.dumps(header).encode()])

    def drop_bucket(self, name: str) -> None:
        """Forget a bucket and what is in it."""
        shutil.rmtree(self._bucket(name), ignore_errors=True)

    def objects(self, bucket: str) -> Iterator[tuple[Header, bytes]]:
        """Yield the header and body of every object of a bucket."""
        for path in self._bucket(bucket).glob("objects/*/*"):
            with path.open("rb") as file:
                yield json.loads(file.readline()), file.read()

    def put_object(self, bucket: str, key: str, header: Header, body: Iterable[bytes]) -> None:
        """Replace an object in one step."""
        path = self._object(bucket, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._replace(path, itertools.chain([json.dumps(header).encode() + b"\n"], body))

    def drop_object(self, bucket: str, key: str) -> None:
        """Remove an object, if it is there."""
        self._object(bucket, key).unlink(missing_ok=True)

    def _bucket(self, name: str) -> Path:
        return self._buckets / f"b-{quote(name, safe='')}"

    def _object(self, bucket: str, key: str) -> Path:
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        return self._bucket(bucket) / "objects" / digest[:2] / digest

    def _replace(self, path: Path, blocks: Iterable[bytes]) -> None:
        # No fsync: this must survive a killed process, not a power cut.
        fresh = self._half_written / str(next(self._serial))
        try:
            with fresh.open("wb") as out:
                out.writelines(blocks)
            os.replace(fresh, path)  # noqa: PTH105
        finally:
            fresh.unlink(missing_ok=True)
