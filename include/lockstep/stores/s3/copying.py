"""Copy objects on the server, whatever their size."""

from __future__ import annotations

from typing import Any

from boto3.s3.transfer import TransferConfig

from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.state import State, creating, writing

#: bytes; what one CopyObject takes (AWS: 5 GB)
LARGEST_COPY = 5 * 1000**3
#: bytes of a part of a larger copy
PART = 512 * 1024 * 1024


def copy(
    connection: Connection,
    source: str,
    target: str,
    state: State,
    *,
    bucket: str | None = None,
    **conditions: Any,
) -> str:
    """Copy `source` to `target` and give it the state; return the copy's ETag. The conditions are CopyObject's.

    In parts, where it is large: then the conditions cannot be sent, and no ETag tells anything.
    `bucket`: where the source is, if not in the same one.
    """
    named = {"Bucket": bucket or connection.bucket, "Key": source}
    arguments = writing(connection, target, state)
    if state["size"] <= LARGEST_COPY:
        answer = connection.client.copy_object(
            Bucket=connection.bucket, Key=target, CopySource=named, **arguments, **conditions
        )
        return str(answer.get("CopyObjectResult", {}).get("ETag", ""))
    # One thread: the store's own pool is what bounds the requests under way.
    parts = TransferConfig(multipart_threshold=LARGEST_COPY, multipart_chunksize=PART, use_threads=False)
    connection.client.copy(named, connection.bucket, target, ExtraArgs=arguments, Config=parts)
    return ""


def put(connection: Connection, key: str, state: State, **conditions: Any) -> None:
    """Write the body that a state holds, with all that the state says; the conditions are PutObject's."""
    arguments = creating(connection, key, state)
    connection.client.put_object(
        Bucket=connection.bucket, Key=key, Body=state["inline"], **arguments, **conditions
    )
