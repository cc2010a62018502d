"""Scratch spaces of a bucket: prefixes `_lockstep/scratch/<name>/` that a store is confined to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from botocore.exceptions import ClientError

from lockstep.domain.errors import Refused
from lockstep.domain.scratch import SCRATCH, refuse_live
from lockstep.stores.s3.capabilities import UNKNOWN
from lockstep.stores.s3.connection import OWN, Connection
from lockstep.stores.s3.deleting import delete_all
from lockstep.stores.s3.errors import code_of
from lockstep.stores.s3.reading import keys

HOME = f"{OWN}scratch/"
#: says that the space is there, as long as nothing else is in it; out of sight inside, as all of Lockstep's own is
MARK = f"{OWN}scratch"


def root_of(connection: Connection, name: str) -> str:
    """Return where a scratch space begins, as a key of the bucket; Refused for a name of anything else."""
    return f"{connection.root}{HOME}{refuse_live(name, ())}/"


def open_scratch(connection: Connection, name: str) -> str:
    """Empty a scratch space and mark it; return its root."""
    root = root_of(connection, name)
    drop_scratch(connection, name)
    with _allowed(connection, "making", name):
        connection.client.put_object(
            Bucket=connection.bucket,
            Key=f"{HOME}{name}/{MARK}",
            Body=datetime.now(timezone.utc).isoformat().encode(),
            ContentType="text/plain",
        )
    return root


def drop_scratch(connection: Connection, name: str) -> None:
    """Delete all objects of a scratch space and abort its uploads. A versioned bucket keeps the old versions."""
    root_of(connection, name)
    home = f"{HOME}{name}/"
    with _allowed(connection, "dropping", name):
        _abort_uploads(connection, home)
        delete_all(connection, keys(connection, home), f"dropping the scratch space {name}")


def scratches(connection: Connection) -> list[str]:
    found: list[str] = []
    with connection.translate("listing scratch spaces"):
        pages = connection.client.get_paginator("list_objects_v2").paginate(
            Bucket=connection.bucket, Prefix=HOME, Delimiter="/"
        )
        for page in pages:
            found += [one["Prefix"][len(HOME) : -1] for one in page.get("CommonPrefixes") or ()]
    return sorted(name for name in found if name.startswith(SCRATCH))


def _abort_uploads(connection: Connection, home: str) -> None:
    pages = connection.client.get_paginator("list_multipart_uploads").paginate(
        Bucket=connection.bucket, Prefix=home
    )
    try:
        found = [upload for page in pages for upload in page.get("Uploads") or ()]
    except ClientError as problem:
        if code_of(problem) in UNKNOWN:
            return
        raise
    for upload in found:
        connection.client.abort_multipart_upload(
            Bucket=connection.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        )


@contextmanager
def _allowed(connection: Connection, doing: str, name: str) -> Iterator[None]:
    """Name the rights that a scratch space takes, where some are missing."""
    try:
        with connection.translate(f"{doing} the scratch space {name}"):
            yield
    except Refused as problem:
        raise Refused(
            f"{problem.message} A scratch space takes s3:ListBucket and s3:ListBucketMultipartUploads on the bucket, and "
            f"s3:PutObject, s3:GetObject, s3:DeleteObject and s3:AbortMultipartUpload below {HOME!r}.",
            **problem.fields,
        ) from problem
