"""What an object is, apart from its body: taken from the server, compared, and given back to it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlencode

from botocore.exceptions import ClientError

from lockstep.domain.errors import DataError, Unsupported
from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.errors import MISSING, code_of

#: An object's state in a Change: JSON with etag, size, sha256 (or None), content_type, metadata, tags, headers
#: (below), opaque (its ETag says nothing about its body), body (key of the staged body, or None) and, where the
#: change holds the body itself, inline (bytes).
State = dict[str, Any]

#: what else is kept of an object, beside Expires: name in boto3's answers and requests alike
HEADERS = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "StorageClass",
    "WebsiteRedirectLocation",
    "ServerSideEncryption",
    "SSEKMSKeyId",
)
#: how it is stored rather than what it is: kept, and not compared
_STORAGE = frozenset({"StorageClass", "ServerSideEncryption", "SSEKMSKeyId"})
DEFAULT_TYPE = "application/octet-stream"
MOST_TAGS = 10
_EXPIRED = datetime.fromtimestamp(0, timezone.utc).isoformat()
_TAG = re.compile(r"[\w +\-=.:/@]{0,256}")
#: bytes
CHUNK = 1024 * 1024


def look(connection: Connection, key: str) -> State | None:
    """Return what is there under a key, or None."""
    try:
        answer = connection.client.head_object(Bucket=connection.bucket, Key=key)
        return from_answer(connection, key, answer)
    except ClientError as problem:
        if code_of(problem) in MISSING:
            return None
        raise


def from_answer(connection: Connection, key: str, answer: Mapping[str, Any]) -> State:
    """Return the state that a HEAD or GET tells, asking for tags where there may be some."""
    etag = str(answer.get("ETag", ""))
    return {
        "etag": etag,
        "size": int(answer["ContentLength"]),
        "sha256": None,
        "content_type": answer.get("ContentType") or DEFAULT_TYPE,
        "metadata": {str(k).lower(): str(v) for k, v in sorted(answer.get("Metadata", {}).items())},
        "tags": _tags(connection, key, answer),
        "headers": {name: answer[name] for name in HEADERS if answer.get(name)} | _expires(answer),
        # Parts and keys of the server's go into such an ETag: the same body may get another one.
        "opaque": "-" in etag or len(etag.strip('"')) != 32 or "SSEKMSKeyId" in answer,
        "body": None,
    }


def _expires(answer: Mapping[str, Any]) -> dict[str, str]:
    """Return when the object expires, as ISO text, which boto3 takes for a time, and JSON keeps.

    What is no date means that it has expired (RFC 9111, 5.3), and boto3 sends nothing but dates: it becomes 1970.
    """
    when = answer.get("Expires")
    if when is None:
        return {"Expires": _EXPIRED} if answer.get("ExpiresString") else {}
    return {"Expires": (when if when.tzinfo else when.replace(tzinfo=timezone.utc)).isoformat()}


def _tags(connection: Connection, key: str, answer: Mapping[str, Any]) -> dict[str, str]:
    able = connection.capabilities
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if not able.tags or (able.counts_tags and headers.get("x-amz-tagging-count", "0") == "0"):
        return {}
    listed = connection.client.get_object_tagging(Bucket=connection.bucket, Key=key)["TagSet"]
    return {tag["Key"]: tag["Value"] for tag in sorted(listed, key=lambda tag: str(tag["Key"]))}


def described(key: str, content_type: str, metadata: Mapping[str, str], tags: Mapping[str, str]) -> State:
    """Return what a revision asked for, in the form that a server gives it back; DataError where none would."""
    for name, value in metadata.items():
        if not (isinstance(name, str) and isinstance(value, str) and name.isascii() and value.isascii()):
            raise DataError(
                f"object {key!r}: metadata {name!r} must be ASCII text to travel as a header. "
                "Encode the value, such as by urllib.parse.quote.",
                key=key,
                name=name,
            )
    # Asked here, since a server may write the object first and refuse its tags afterwards.
    wrong = [text for tag in tags.items() for text in tag if not _TAG.fullmatch(text)]
    if wrong or len(tags) > MOST_TAGS:
        problem = f"tag {wrong[0]!r}" if wrong else f"it would have {len(tags)} tags, and that"
        raise DataError(
            f"object {key!r}: {problem} is not what S3 takes: {MOST_TAGS} tags, of letters, digits, spaces and "
            "+ - = . _ : / @, up to 128 characters the name and 256 the value. Encode it, or keep it as metadata.",
            key=key,
        )
    return {
        "content_type": content_type or DEFAULT_TYPE,
        "metadata": {name.lower(): value.strip() for name, value in sorted(metadata.items())},
        "tags": dict(sorted(tags.items())),
    }


def same_description(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two states differ in nothing but their bodies."""
    plain = ("content_type", "metadata", "tags")
    same = all(first[name] == second[name] for name in plain)
    return same and _compared(first) == _compared(second)


def _compared(state: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in state["headers"].items() if name not in _STORAGE}


def is_still(connection: Connection, key: str, state: State, now: State) -> bool:
    """Whether the object that is `now` under the key is the one that `state` tells of."""
    if state["size"] != now["size"] or not same_description(state, now):
        return False
    if state["etag"] == now["etag"]:
        return True
    if state["sha256"] is not None:
        # An ETag need not be a digest of the body, so where the sizes agree the bodies decide.
        return bool(body_digest(connection, key) == state["sha256"])
    return bool(state["opaque"] or now["opaque"])


def matches(connection: Connection, key: str, state: State | None, now: State | None) -> bool:
    """The same, where either may be nothing."""
    if state is None or now is None:
        return state is now
    return is_still(connection, key, state, now)


def body_digest(connection: Connection, key: str) -> str:
    """Return the SHA-256 of a body, in bounded memory."""
    digest = hashlib.sha256()
    body = connection.client.get_object(Bucket=connection.bucket, Key=key)["Body"]
    try:
        for chunk in body.iter_chunks(CHUNK):
            digest.update(chunk)
    finally:
        body.close()
    return digest.hexdigest()


def creating(connection: Connection, key: str, state: State) -> dict[str, Any]:
    """Return the arguments of a put, or of a multipart upload, that gives an object this state."""
    arguments = writing(connection, key, state)
    for directive in ("MetadataDirective", "TaggingDirective"):
        arguments.pop(directive, None)
    if not arguments.get("Tagging"):
        arguments.pop("Tagging", None)
    return arguments


def writing(connection: Connection, key: str, state: State) -> dict[str, Any]:
    """Return the arguments of a copy that gives an object this state."""
    arguments: dict[str, Any] = {
        "MetadataDirective": "REPLACE",
        "ContentType": state["content_type"],
        "Metadata": dict(state["metadata"]),
        **state["headers"],
    }
    if connection.capabilities.tags:
        arguments["TaggingDirective"] = "REPLACE"
        arguments["Tagging"] = urlencode(state["tags"])
    elif state["tags"]:
        raise Unsupported(
            f"object {key!r} is to have tags, and {connection.translate.where} keeps none. "
            "Leave them off, or keep them as metadata.",
            key=key,
        )
    return arguments
