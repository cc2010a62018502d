"""Find out what the server can do by asking it, with small objects below the reserved prefix."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, ParamValidationError

from lockstep.domain.resources import RESERVED
from lockstep.stores.s3.errors import FAILED_CONDITION, code_of

#: answers to a request, or to a part of one, that the server does not know
UNKNOWN = frozenset(
    {
        "400",
        "405",
        "501",
        "InvalidArgument",
        "InvalidRequest",
        "MethodNotAllowed",
        "NotImplemented",
        "XNotImplemented",
    }
)


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the server was seen to do."""

    #: refuses a copy onto an object that is there, where it was told to (If-None-Match: *)
    guards_creates: bool
    #: refuses a copy onto an object that has changed (If-Match)
    guards_overwrites: bool
    #: refuses to put a body where there is an object, or where there is another one than it was told
    guards_puts: bool
    #: refuses to delete an object that has changed (If-Match)
    guards_deletes: bool
    #: deletes several objects by one request, and has no condition that it would need one each for
    deletes_many: bool
    #: keeps tags
    tags: bool
    #: says with an object how many tags it has, so that most need no question of their own
    counts_tags: bool


def probe(client: Any, bucket: str) -> Capabilities:
    """Ask the server."""
    key = f"{RESERVED}/probe/{uuid.uuid4()}"
    source = {"Bucket": bucket, "Key": key}
    other = f"{key}.copy"
    client.put_object(Bucket=bucket, Key=key, Body=b"probe")
    try:
        client.copy_object(Bucket=bucket, Key=other, CopySource=source)
        tags = _keeps_tags(client, bucket, key)
        guards_deletes = _refuses(lambda: client.delete_object(Bucket=bucket, Key=other, IfMatch=OTHER_ETAG))
        return Capabilities(
            guards_creates=_refuses(
                lambda: client.copy_object(Bucket=bucket, Key=other, CopySource=source, IfNoneMatch="*")
            ),
            guards_overwrites=_refuses(
                lambda: client.copy_object(Bucket=bucket, Key=other, CopySource=source, IfMatch=OTHER_ETAG)
            ),
            guards_puts=_refuses(
                lambda: client.put_object(Bucket=bucket, Key=other, Body=b"probe", IfNoneMatch="*")
            )
            and _refuses(
                lambda: client.put_object(Bucket=bucket, Key=other, Body=b"probe", IfMatch=OTHER_ETAG)
            ),
            guards_deletes=guards_deletes,
            deletes_many=not guards_deletes and _deletes_many(client, bucket, (f"{key}.1", f"{key}.2")),
            tags=tags,
            counts_tags=tags and _tag_count(client.head_object(Bucket=bucket, Key=key)) == "1",
        )
    finally:
        for one in (key, other):
            with contextlib.suppress(ClientError):
                client.delete_object(Bucket=bucket, Key=one)


def _deletes_many(client: Any, bucket: str, keys: Sequence[str]) -> bool:
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"probe")
    try:
        answer = client.delete_objects(
            Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
        )
    except ClientError:
        # Some servers want another checksum of the list than clients send.
        answer = {"Errors": keys}
    if not answer.get("Errors"):
        return True
    for key in keys:
        client.delete_object(Bucket=bucket, Key=key)
    return False


OTHER_ETAG = '"00000000000000000000000000000000"'


def _refuses(ask: Callable[[], object]) -> bool:
    """Whether the server knows the condition: one that does not says so, or ignores it."""
    try:
        ask()
    except ParamValidationError:
        return False
    except ClientError as problem:
        code = code_of(problem)
        if code in FAILED_CONDITION:
            return True
        if code in UNKNOWN:
            return False
        raise
    return False


def _keeps_tags(client: Any, bucket: str, key: str) -> bool:
    wanted = [{"Key": "probe", "Value": "1"}]
    try:
        client.put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": wanted})
        return bool(client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] == wanted)
    except ClientError as problem:
        if code_of(problem) in UNKNOWN or code_of(problem) == "AccessDenied":
            return False
        raise


def _tag_count(answer: Any) -> str | None:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    found: str | None = headers.get("x-amz-tagging-count")
    return found
