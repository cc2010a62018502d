"""The bucket that keeps backups, journals and archives."""

from __future__ import annotations

import functools
import hashlib
import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from lockstep.domain.errors import DataError, LockstepError, Refused, Unavailable
from lockstep.domain.exchange import BackupPart
from lockstep.domain.progress import BackupFile
from lockstep.stores.vault import reading, removing
from lockstep.stores.vault.metadata import encode_metadata
from lockstep.stores.vault.multipart import abort_stale, write_multipart
from lockstep.stores.vault.place import Place
from lockstep.stores.vault.uploads import Uploads, blocks

#: bytes of a part of a multipart upload, and the most that goes up in one put
PART_SIZE = 8 * 1024 * 1024
#: S3 takes 10,000 parts: after so many of them parts double, which makes room for 293 GiB
_PARTS_OF_ONE_SIZE = 2500
#: what a server answers to a conditional write where the object is there
_THERE = frozenset({"PreconditionFailed", "412"})
#: and where another writes it at this moment, and may not come to an end
_BEING_WRITTEN = frozenset({"ConditionalRequestConflict", "409"})
#: and what one answers that knows no conditional writes
_NO_CONDITIONS = frozenset({"NotImplemented", "InvalidRequest", "InvalidArgument", "501"})
#: where check() tries what it may do
_PROBES = "_lockstep/probe/"


class S3Vault:
    """A bucket of an S3-compatible server. Threads may share it; keys are written exactly as given."""

    def __init__(
        self,
        client_kwargs: Mapping[str, Any],
        bucket: str,
        *,
        conn_id: str = "lockstep_vault",
        put_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """`client_kwargs`: the arguments of boto3's client("s3"), credentials included.

        `put_arguments`: further arguments of boto3's put_object for all that is written here, such as
        ServerSideEncryption, SSEKMSKeyId, StorageClass and Tagging.
        """
        self._place = Place(client_kwargs, bucket, conn_id)
        self._put_arguments = dict(put_arguments or {})

    def __repr__(self) -> str:
        place = self._place
        return f"S3Vault({place.endpoint}, {place.bucket!r}, conn_id={place.conn_id!r})"

    def close(self) -> None:
        """Close the client's connections; the vault can be used again."""
        self._place.close()

    def check(self) -> Mapping[str, str]:
        """Write, read back and delete a probe; answer with server facts. Refused says what is not allowed."""
        place = self._place
        path = f"{_PROBES}{uuid.uuid4()}"
        body = path.encode()
        self.put(path, body)
        found = self.get(path)
        with place.translated(path):
            place.client.delete_object(Bucket=place.bucket, Key=path)
        if found != body:
            raise Refused(
                f"the vault ({place.conn_id}, {place.endpoint}) gave back other bytes than were written to "
                f"{self.uri(path)}. Look at its storage before anything is kept there.",
                conn_id=place.conn_id,
            )
        return {"endpoint": place.endpoint, "bucket": place.bucket}

    def write(self, path: str, part: BackupPart) -> BackupFile:
        """Stream a part to `path`, in bounded memory; return its size and SHA-256 as sent.

        Metadata that is not ASCII is encoded as `vault.metadata` says. An upload of the same path that an earlier
        process did not finish is aborted first.
        """
        abort_stale(self._place, path=path)
        with Uploads() as uploads:
            file = self._write(path, part, uploads)
            uploads.finish()
            return file

    def write_many(
        self, folder: str, parts: Iterable[BackupPart], *, instead_of: str = ""
    ) -> list[BackupFile]:
        """Write parts below a folder; small ones go up several at a time.

        Parts are read in this thread, one after the other, and each before the next is asked for: what
        yields them may keep a snapshot or a cursor open. Only the uploads overlap. Uploads below `instead_of`, or
        else the folder, that an earlier process did not finish are aborted first.
        """
        folder = folder.rstrip("/")
        abort_stale(self._place, folder=instead_of.rstrip("/") or folder)
        with Uploads() as uploads:
            files = [self._write(f"{folder}/{part.name}", part, uploads) for part in parts]
            uploads.finish()
            return files

    def digest(self, path: str) -> tuple[int, str]:
        """Read `path` back; return its size and SHA-256."""
        size, digest = 0, hashlib.sha256()
        for chunk in self.read(path):
            size += len(chunk)
            digest.update(chunk)
        return size, digest.hexdigest()

    def put(self, path: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        self._put(path, body, {"ContentType": content_type})

    def put_new(self, path: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """Write an object that is not there yet; False, and nothing is written, where it is.

        A server that knows no conditional writes is asked first: there two writers at once may both write.
        """
        try:
            self._put(path, body, {"ContentType": content_type, "IfNoneMatch": "*"})
        except LockstepError as problem:
            code = problem.fields.get("code")
            if code in _THERE:
                return False
            if code in _BEING_WRITTEN:
                raise Unavailable(
                    f"{self.uri(path)} is being written by another. Try again.", path=path
                ) from problem
            if code not in _NO_CONDITIONS:
                raise
            if self.exists(path):
                return False
            self.put(path, body, content_type)
        return True

    def get(self, path: str) -> bytes:
        """Return an object's body; DataError where there is none."""
        return b"".join(self.read(path))

    def read(self, path: str) -> Iterator[bytes]:
        """Stream an object's body, going on where a connection breaks; DataError where there is none."""
        return reading.stream(self._place, path)

    def paths(self, folder: str) -> Iterator[str]:
        """Yield the paths below a folder, in the order of their UTF-8 bytes."""
        return reading.paths(self._place, folder)

    def remove(self, paths: Iterable[str]) -> int:
        """Delete objects; those that are gone already are fine. Return how many were asked for.

        Refused or DataError name those that the server did not delete; what it was asked for before is gone.
        """
        return removing.remove(self._place, paths)

    def exists(self, path: str) -> bool:
        place = self._place
        try:
            with place.translated(path):
                place.client.head_object(Bucket=place.bucket, Key=path)
        except DataError as error:
            if error.fields["code"] not in ("404", "NoSuchKey", "NotFound"):
                raise
            # HEAD has no body to say which of the two is missing: a missing bucket is no answer.
            place.require_bucket()
            return False
        return True

    def uri(self, path: str) -> str:
        """Return `s3://bucket/path`, without credentials."""
        return f"s3://{self._place.bucket}/{path}"

    def _put(self, path: str, body: bytes | bytearray, headers: Mapping[str, Any]) -> None:
        place = self._place
        arguments = {**self._put_arguments, **headers}
        with place.translated(path):
            place.client.put_object(Bucket=place.bucket, Key=path, Body=body, **arguments)

    def _write(self, path: str, part: BackupPart, uploads: Uploads) -> BackupFile:
        """Read a part to its end; it is there when the uploads have finished."""
        sent = _Sent(part.chunks())
        headers = {"ContentType": part.content_type, "Metadata": encode_metadata(part.metadata or {})}
        with closing(sent):
            pieces = blocks(sent, _part_size)
            first = next(pieces)
            second = next(pieces, None)
            if second is None:
                uploads.submit(functools.partial(self._put, path, first, headers), len(first))
            else:
                pieces = itertools.chain((first, second), pieces)
                del first, second  # the chain alone holds them, so that they go when they are sent
                write_multipart(self._place, path, pieces, {**self._put_arguments, **headers})
        return BackupFile(path=path, size=sent.size, sha256=sent.sha256, holds=part.holds, count=part.count())


class _Sent:
    """Chunks on their way, measured."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = iter(chunks)
        self._digest = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self._digest.update(chunk)
        self.size += len(chunk)
        return chunk

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the source, which may be a program or a cursor, also where it was not read to its end."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()


def _part_size(number: int) -> int:
    return PART_SIZE << ((number - 1) // _PARTS_OF_ONE_SIZE)
