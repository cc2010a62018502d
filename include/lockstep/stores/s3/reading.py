"""List a prefix in key order, and read what is there."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator

from botocore.exceptions import ClientError

from lockstep.domain.errors import DataError
from lockstep.domain.objects import ObjectInfo, StoredObject
from lockstep.domain.progress import Cursor, Fingerprint, KeyRange, Page
from lockstep.domain.resources import Prefix
from lockstep.stores.s3.connection import OWN, WORKERS, Connection
from lockstep.stores.s3.errors import MISSING, code_of
from lockstep.stores.s3.state import CHUNK, State, from_answer, look

#: bytes; what a function of a revision is given at most
LARGEST_BODY = 256 * 1024 * 1024
#: keys in one answer of the server
LISTED = 1000
#: keys remembered to cut ranges from
REMEMBERED = 4096
MODULUS = 2**128


def cursor_of(key: str) -> Cursor:
    return json.dumps(key, ensure_ascii=False)


def key_of(cursor: Cursor) -> str:
    return str(json.loads(cursor))


def keys(
    connection: Connection, prefix: str, *, after: str | None = None, upto: str | None = None
) -> Iterator[str]:
    """Yield keys in their UTF-8 bytes' order, after one and up to another, Lockstep's own left out."""
    for page in key_pages(connection, prefix, after=after, upto=upto):
        yield from page


def key_pages(
    connection: Connection, prefix: str, *, after: str | None = None, upto: str | None = None
) -> Iterator[list[str]]:
    """Yield keys a listing at a time."""
    last = None if upto is None else upto.encode()
    more, start = True, after or ""
    while more:
        answer = connection.client.list_objects_v2(
            Bucket=connection.bucket,
            Prefix=prefix,
            MaxKeys=LISTED,
            **({"StartAfter": start} if start else {}),
        )
        listed = [item["Key"] for item in answer.get("Contents", ())]
        more = bool(answer.get("IsTruncated")) and bool(listed)
        start = listed[-1] if listed else start
        page = [key for key in listed if last is None or key.encode() <= last]
        more = more and len(page) == len(listed)
        yield [key for key in page if prefix.startswith(OWN) or not key.startswith(OWN)]


def read(
    connection: Connection,
    prefix: Prefix,
    *,
    suffix: str,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
) -> Page:
    """Read the next objects' descriptions; one that is deleted meanwhile is left out."""
    edge = after if after is not None else within.lower
    start = None if edge is None else key_of(edge)
    upto = None if within.upper is None else key_of(within.upper)
    with connection.translate(f"reading {prefix}"):
        wanted: list[str] = []
        last = True
        for key in keys(connection, prefix.name, after=start, upto=upto):
            if not key.endswith(suffix):
                continue
            if len(wanted) == limit:
                last = False
                break
            wanted.append(key)
        states = connection.each(lambda key: look(connection, key), wanted)
        records = tuple(
            info_of(key, state) for key, state in zip(wanted, states, strict=True) if state is not None
        )
    return Page(records=records, cursor=cursor_of(wanted[-1]) if wanted else after, last=last)


def info_of(key: str, state: State) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size=state["size"],
        content_type=state["content_type"],
        metadata=dict(state["metadata"]),
        tags=dict(state["tags"]),
    )


def get(connection: Connection, key: str) -> StoredObject:
    """Read one object with its body; DataError for a large or a missing one."""
    with connection.translate(f"reading object {key!r}"):
        try:
            answer = connection.client.get_object(Bucket=connection.bucket, Key=key)
        except ClientError as problem:
            if code_of(problem) not in MISSING:
                raise
            raise DataError(
                f"there is no object {key!r} in {connection.translate.where}. See who deleted it.", key=key
            ) from problem
        try:
            if answer["ContentLength"] > LARGEST_BODY:
                raise DataError(
                    f"object {key!r} has {answer['ContentLength']:,} bytes, and a function is given at most "
                    f"{LARGEST_BODY:,}. Use ops.update_metadata or ops.move_objects, which read no body, or "
                    "ops.run_python with the client's own streams.",
                    key=key,
                    size=answer["ContentLength"],
                )
            state = from_answer(connection, key, answer)
            body = answer["Body"].read()
        finally:
            answer["Body"].close()
    return StoredObject(
        key=key,
        body=body,
        content_type=state["content_type"],
        metadata=state["metadata"],
        tags=state["tags"],
    )


def count(connection: Connection, prefix: Prefix, suffix: str) -> int:
    with connection.translate(f"counting {prefix}"):
        return sum(1 for key in keys(connection, prefix.name) if key.endswith(suffix))


def plan_ranges(
    connection: Connection, prefix: Prefix, *, suffix: str, shards: int, least: int
) -> list[KeyRange]:
    """Cut the keys into ranges of about as many objects, from every n-th key of one listing."""
    kept: list[str] = []
    stride, total = 1, 0
    with connection.translate(f"cutting {prefix} into ranges"):
        for key in keys(connection, prefix.name):
            if not key.endswith(suffix):
                continue
            total += 1
            if total % stride == 0:
                kept.append(key)
            if len(kept) == REMEMBERED:
                # Every second one from here on: memory stays the same however long the listing is.
                kept, stride = kept[1::2], stride * 2
    parts = max(1, min(shards, total // max(least, 1), len(kept)))
    cuts = [kept[len(kept) * part // parts - 1] for part in range(1, parts)]
    edges: list[str | None] = [None, *cuts, None]
    return [
        KeyRange(
            lower=None if lower is None else cursor_of(lower),
            upper=None if upper is None else cursor_of(upper),
            label=_label(prefix.name, lower, upper),
        )
        for lower, upper in itertools.pairwise(edges)
    ]


def _label(prefix: str, lower: str | None, upper: str | None) -> str:
    low, high = (None if key is None else _short(key[len(prefix) :]) for key in (lower, upper))
    if low is None:
        return "all" if high is None else f"up to {high}"
    return f"after {low}" if high is None else f"{low} to {high}"


def _short(key: str) -> str:
    return key if len(key) <= 40 else f"{key[:39]}…"


def fingerprint(connection: Connection, prefix: Prefix) -> Fingerprint:
    """Read every object, in bounded memory. A prefix is always present: it is a way to look at a bucket."""
    total = names = contents = 0
    with connection.translate(f"fingerprinting {prefix}"):
        for page in key_pages(connection, prefix.name):
            for start in range(0, len(page), WORKERS * 4):
                part = page[start : start + WORKERS * 4]
                found = connection.each(lambda key: _content(connection, key), part)
                for key, content in zip(part, found, strict=True):
                    if content is None:
                        continue
                    total += 1
                    names += _digest(key.encode())
                    contents += content
    return Fingerprint(
        present=True, count=total, keys=f"{names % MODULUS:032x}", content=f"{contents % MODULUS:032x}"
    )


def _content(connection: Connection, key: str) -> int | None:
    try:
        answer = connection.client.get_object(Bucket=connection.bucket, Key=key)
    except ClientError as problem:
        if code_of(problem) in MISSING:
            return None
        raise
    digest = hashlib.sha256()
    try:
        for chunk in answer["Body"].iter_chunks(CHUNK):
            digest.update(chunk)
    finally:
        answer["Body"].close()
    state = from_answer(connection, key, answer)
    parts = [key, digest.hexdigest(), state["content_type"], state["metadata"], state["tags"]]
    return _digest(json.dumps(parts, sort_keys=True).encode())


def _digest(data: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest(), "big")
