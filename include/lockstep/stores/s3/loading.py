"""Put a backup's objects into a bucket, each with the description that its line in `objects.jsonl` gives it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from lockstep.domain.errors import BackupNotProven, Unsupported
from lockstep.domain.progress import BackupFile
from lockstep.stores.checked import Checked, Read, whole
from lockstep.stores.s3.connection import WORKERS, Connection
from lockstep.stores.s3.staging import longest_key
from lockstep.stores.s3.state import creating

LIST = "objects.jsonl"
#: bytes; a larger object goes up in parts of so many, one after the other
PART = 8 * 1024 * 1024
#: S3 takes 10,000 parts
MOST_PARTS = 9000

#: one line of the list
Line = Mapping[str, Any]


def load(connection: Connection, files: Sequence[BackupFile], read: Read) -> None:
    """Put the objects; BackupNotProven names a file that is not what was written, or that is not there.

    In memory are the parts that are under way, one for each of the connection's workers.
    """
    bodies = {file.path: file for file in files if file.holds == "object"}
    lists = [file for file in files if file.holds == "object list"]
    if bodies and not lists:
        raise BackupNotProven(
            f"the backup holds objects and no {LIST} that describes them.", path=min(bodies)
        )
    for listed in lists:
        _load(connection, listed, bodies, read)


def _load(connection: Connection, listed: BackupFile, bodies: Mapping[str, BackupFile], read: Read) -> None:
    # Read twice: a line is acted on only when all of them are known to be those that were written.
    Checked(listed, read).settle()
    folder = listed.path[: -len(LIST)]
    lines = _lines(read(listed.path))
    while window := list(islice(lines, WORKERS * 4)):
        for _ in connection.each(lambda line: _put(connection, folder, line, bodies, read), window):
            pass


def _lines(chunks: Iterable[bytes]) -> Iterator[Line]:
    held = b""
    for chunk in chunks:
        *found, held = (held + chunk).split(b"\n")
        yield from (json.loads(line) for line in found if line)
    if held:
        yield json.loads(held)


def _put(
    connection: Connection, folder: str, line: Line, bodies: Mapping[str, BackupFile], read: Read
) -> None:
    key, path = line["key"], f"{folder}{line['file']}"
    file = bodies.get(path)
    if file is None or (file.size, file.sha256) != (line["size"], line["sha256"]):
        raise BackupNotProven(
            f"object {key!r} is in the list {folder}{LIST}, and the manifest has "
            f"{'no file for it' if file is None else 'another body for it'}: {path}. Use another backup.",
            path=path,
            key=key,
        )
    if len(key.encode()) > longest_key(connection):
        raise Unsupported(
            f"object {key[:80]!r}… has a key of {len(key.encode())} bytes, and within {connection.root} S3 takes "
            f"{longest_key(connection)}. Prove this backup by checksum, and restore it as docs/restore-by-hand.md says.",
            key=key,
        )
    with connection.translate(f"restoring object {key!r} from {path}"):
        arguments = creating(connection, key, {**line})
        if file.size <= PART:
            connection.client.put_object(
                Bucket=connection.bucket, Key=key, Body=whole(file, read), **arguments
            )
        else:
            _put_in_parts(connection, key, file, read, arguments)


def _put_in_parts(
    connection: Connection, key: str, file: BackupFile, read: Read, arguments: Mapping[str, Any]
) -> None:
    """Upload a large object; it is there only when every byte was seen to be the one that was written."""
    target = {"Bucket": connection.bucket, "Key": key}
    client = connection.client
    upload = {**target, "UploadId": client.create_multipart_upload(**target, **arguments)["UploadId"]}
    try:
        size = max(PART, -(-file.size // MOST_PARTS))
        parts = []
        for number, piece in enumerate(_pieces(Checked(file, read), size), 1):
            answer = client.upload_part(**upload, PartNumber=number, Body=piece)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    except BaseException:
        # What led here is the error to be seen; dropping the scratch space aborts what is left.
        with contextlib.suppress(Exception):
            client.abort_multipart_upload(**upload)
        raise


def _pieces(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
    if held:
        yield bytes(held)
