"""The bucket that keeps backups, journals and archives."""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import os
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from typing import Any

import boto3
from botocore.config import Config

from lockstep.domain.errors import DataError, Refused
from lockstep.domain.exchange import BackupPart
from lockstep.domain.progress import BackupFile
from lockstep.stores.vault.errors import no_bucket, translated
from lockstep.stores.vault.metadata import encode_metadata
from lockstep.stores.vault.uploads import Uploads, blocks

#: bytes of a part of a multipart upload, and the most that goes up in one put
PART_SIZE = 8 * 1024 * 1024
#: S3 takes 10,000 parts: after so many of them parts double, which makes room for 293 GiB
_PARTS_OF_ONE_SIZE = 2500
#: bytes read at a time
_READ_SIZE = 1024 * 1024
#: where check() tries what it may do
_PROBES = "_lockstep/probe/"

# Servers other than Amazon's do not all know the checksums that new clients send unasked. What we write is
# read back and compared, so nothing is lost by asking for them only where S3 requires it.
_CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"mode": "standard", "max_attempts": 5},
    max_pool_connections=16,
    tcp_keepalive=True,
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class S3Vault:
    """A bucket of an S3-compatible server. Threads may share it; keys are written exactly as given."""

    def __init__(
        self, client_kwargs: Mapping[str, Any], bucket: str, *, conn_id: str = "lockstep_vault"
    ) -> None:
        """`client_kwargs`: the arguments of boto3's client("s3"), credentials included."""
        self._kwargs = dict(client_kwargs)
        self._bucket = bucket
        self._conn_id = conn_id
        self._lock = threading.Lock()
        self._made: tuple[int, Any] | None = None

    def __repr__(self) -> str:
        return f"S3Vault({self._endpoint}, {self._bucket!r}, conn_id={self._conn_id!r})"

    def close(self) -> None:
        """Close the client's connections; the vault can be used again."""
        with self._lock:
            if self._made is not None and self._made[0] == os.getpid():
                self._made[1].close()
            self._made = None

    def check(self) -> Mapping[str, str]:
        """Write, read back and delete a probe; answer with server facts. Refused says what is not allowed."""
        path = f"{_PROBES}{uuid.uuid4()}"
        body = path.encode()
        self.put(path, body)
        found = self.get(path)
        with self._translated(path):
            self._client.delete_object(Bucket=self._bucket, Key=path)
        if found != body:
            raise Refused(
                f"the vault ({self._conn_id}, {self._endpoint}) gave back other bytes than were written to "
                f"{self.uri(path)}. Look at its storage before anything is kept there.",
                conn_id=self._conn_id,
            )
        return {"endpoint": self._endpoint, "bucket": self._bucket}

    def write(self, path: str, part: BackupPart) -> BackupFile:
        """Stream a part to `path`, in bounded memory; return its size and SHA-256 as sent.

        Metadata that is not ASCII is encoded as `vault.metadata` says.
        """
        with Uploads() as uploads:
            file = self._write(path, part, uploads)
            uploads.finish()
            return file

    def write_many(self, folder: str, parts: Iterable[BackupPart]) -> list[BackupFile]:
        """Write parts below a folder; small ones go up several at a time.

        Parts are read in this thread, one after the other, and each before the next is asked for: what
        yields them may keep a snapshot or a cursor open. Only the uploads overlap.
        """
        with Uploads() as uploads:
            files = [self._write(f"{folder.rstrip('/')}/{part.name}", part, uploads) for part in parts]
            uploads.finish()
            return files

    def digest(self, path: str) -> tuple[int, str]:
        """Read `path` back; return its size and SHA-256."""
        size, digest = 0, hashlib.sha256()
        for chunk in self._read(path):
            size += len(chunk)
            digest.update(chunk)
        return size, digest.hexdigest()

    def put(self, path: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        self._put(path, body, {"ContentType": content_type})

    def get(self, path: str) -> bytes:
        """Return an object's body; DataError where there is none."""
        return b"".join(self._read(path))

    def exists(self, path: str) -> bool:
        try:
            with self._translated(path):
                self._client.head_object(Bucket=self._bucket, Key=path)
        except DataError as error:
            if error.fields["code"] not in ("404", "NoSuchKey", "NotFound"):
                raise
            # HEAD has no body to say which of the two is missing: a missing bucket is no answer.
            self._require_bucket()
            return False
        return True

    def uri(self, path: str) -> str:
        """Return `s3://bucket/path`, without credentials."""
        return f"s3://{self._bucket}/{path}"

    @property
    def _endpoint(self) -> str:
        return str(self._kwargs.get("endpoint_url") or "Amazon S3")

    @property
    def _client(self) -> Any:
        """The process's client: sockets are not shared across a fork."""
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                given = dict(self._kwargs)
                config = _CONFIG.merge(given.pop("config", None) or Config())
                # A session of our own: boto3's default one is not safe to use from several threads.
                client = boto3.session.Session().client("s3", **given, config=config)
                self._made = (os.getpid(), client)
            return self._made[1]

    def _translated(self, path: str) -> AbstractContextManager[None]:
        return translated(self._conn_id, self._endpoint, self._bucket, path)

    def _require_bucket(self) -> None:
        try:
            with self._translated(""):
                self._client.head_bucket(Bucket=self._bucket)
        except DataError as error:
            raise no_bucket(self._conn_id, self._endpoint, self._bucket) from error

    def _read(self, path: str) -> Iterator[bytes]:
        with self._translated(path), ExitStack() as opened:
            body = self._client.get_object(Bucket=self._bucket, Key=path)["Body"]
            opened.callback(body.close)
            yield from body.iter_chunks(_READ_SIZE)

    def _put(self, path: str, body: bytes | bytearray, headers: Mapping[str, Any]) -> None:
        with self._translated(path):
            self._client.put_object(Bucket=self._bucket, Key=path, Body=body, **headers)

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
                self._write_multipart(path, pieces, headers)
        return BackupFile(path=path, size=sent.size, sha256=sent.sha256, holds=part.holds, count=part.count())

    def _write_multipart(self, path: str, pieces: Iterator[bytearray], headers: Mapping[str, Any]) -> None:
        """Upload pieces as parts of one object; on any error nothing of it stays."""
        target = {"Bucket": self._bucket, "Key": path}
        with self._translated(path):
            upload = {
                **target,
                "UploadId": self._client.create_multipart_upload(**target, **headers)["UploadId"],
            }
        done: dict[int, str] = {}

        def send(number: int, piece: bytearray) -> None:
            with self._translated(path):
                answer = self._client.upload_part(**upload, PartNumber=number, Body=piece)
            done[number] = answer["ETag"]

        try:
            with Uploads() as uploads:
                for number, piece in enumerate(pieces, 1):
                    uploads.submit(functools.partial(send, number, piece), len(piece))
                uploads.finish()
            parts = [{"PartNumber": number, "ETag": done[number]} for number in sorted(done)]
            with self._translated(path):
                self._client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
        except BaseException:
            self._abort(upload)
            raise

    def _abort(self, upload: Mapping[str, str]) -> None:
        try:
            self._client.abort_multipart_upload(**upload)
        except Exception:
            # The error that led here is the one to be seen; this upload is left to the bucket's lifecycle.
            logging.getLogger(__name__).warning(
                "a multipart upload of %s could not be aborted; remove it from the bucket", upload["Key"]
            )


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
