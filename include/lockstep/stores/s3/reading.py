"""List a prefix in key order, and read what is there."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from lockstep.domain.errors import DataError
from lockstep.domain.objects import ObjectInfo, Seen, StoredObject
from lockstep.domain.progress import Cursor, Fingerprint, KeyRange, Page
from lockstep.domain.resources import Everything, Prefix
from lockstep.stores.s3.connection import OWN, WORKERS, Connection
from lockstep.stores.s3.errors import MISSING, code_of
from lockstep.stores.s3.state import CHUNK, State, from_answer, look

#: bytes; what a function of a revision is given at most
LARGEST_BODY = 256 * 1024 * 1024
#: keys in one answer of the server
LISTED = 1000
MODULUS = 2**128

#: a key and its object's bytes
Listed = tuple[str, int]


def cursor_of(key: str) -> Cursor:
    return json.dumps(key, ensure_ascii=False)


def key_of(cursor: Cursor) -> str:
    return str(json.loads(cursor))


def keys(
    connection: Connection, prefix: str, *, after: str | None = None, upto: str | None = None
) -> Iterator[str]:
    """Yield keys in their UTF-8 bytes' order, after one and up to another, Lockstep's own left out."""
    for page in listings(connection, prefix, after=after, upto=upto):
        yield from (key for key, _ in page)


def key_pages(connection: Connection, prefix: str) -> Iterator[list[str]]:
    """Yield keys a listing at a time."""
    for page in listings(connection, prefix):
        yield [key for key, _ in page]


def listings(
    connection: Connection,
    prefix: str,
    *,
    after: str | None = None,
    upto: str | None = None,
    first: int = LISTED,
) -> Iterator[list[Listed]]:
    """Yield keys and sizes, a listing at a time; the first of `first` keys at most."""
    last = None if upto is None else upto.encode()
    more, start, asked = True, after or "", min(first, LISTED)
    while more:
        answer = connection.client.list_objects_v2(
            Bucket=connection.bucket,
            Prefix=prefix,
            MaxKeys=asked,
            **({"StartAfter": start} if start else {}),
        )
        asked = LISTED
        listed = [(item["Key"], item["Size"]) for item in answer.get("Contents", ())]
        more = bool(answer.get("IsTruncated")) and bool(listed)
        start = listed[-1][0] if listed else start
        page = [one for one in listed if last is None or one[0].encode() <= last]
        more = more and len(page) == len(listed)
        yield [one for one in page if prefix.startswith(OWN) or not one[0].startswith(OWN)]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The keys of one page, and where the next one goes on."""

    keys: tuple[str, ...]
    cursor: Cursor | None
    last: bool


def wanted(
    connection: Connection,
    prefix: Prefix,
    *,
    suffix: str,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
    excluding: Sequence[Cursor] = (),
    most: int | None = None,
) -> Wanted:
    """List the next keys of a range, those at the places `excluding` left out.

    most: bytes that the objects may have together, unless the first alone has more.
    """
    if within.keys is not None:
        return _named(connection, within.keys, suffix, after, limit, excluding, most)
    edge = after if after is not None else within.lower
    start = None if edge is None else key_of(edge)
    upto = None if within.upper is None else key_of(within.upper)
    # One more, to know whether anything follows.
    pages = listings(connection, prefix.name, after=start, upto=upto, first=limit + len(excluding) + 1)
    return _taken(itertools.chain.from_iterable(pages), suffix, after, limit, excluding, most)


def key_page(connection: Connection, prefix: Prefix, **how: Any) -> Page:
    """List the next keys, and nothing else of their objects; `how` is that of `wanted`."""
    with connection.translate(f"listing {prefix}"):
        page = wanted(connection, prefix, **how)
    return Page(records=page.keys, cursor=page.cursor, last=page.last)


def _taken(
    listed: Iterable[Listed],
    suffix: str,
    after: Cursor | None,
    limit: int,
    excluding: Sequence[Cursor],
    most: int | None,
) -> Wanted:
    left = {key_of(cursor) for cursor in excluding}
    taken: list[str] = []
    total = 0
    for key, size in listed:
        if not key.endswith(suffix) or key in left:
            continue
        total += size
        if len(taken) == limit or (taken and most is not None and total > most):
            return Wanted(keys=tuple(taken), cursor=cursor_of(taken[-1]), last=False)
        taken.append(key)
    return Wanted(keys=tuple(taken), cursor=cursor_of(taken[-1]) if taken else after, last=True)


def _named(
    connection: Connection,
    places: Sequence[Cursor],
    suffix: str,
    after: Cursor | None,
    limit: int,
    excluding: Sequence[Cursor],
    most: int | None,
) -> Wanted:
    """Take the objects at these places, in the order in which the places are given."""
    start = places.index(after) + 1 if after in places else 0
    named = [key_of(cursor) for cursor in places[start:]]
    there = ((key, state["size"]) for key in named if (state := look(connection, key)) is not None)
    return _taken(there, suffix, after, limit, excluding, most)


def read(
    connection: Connection,
    prefix: Prefix,
    *,
    suffix: str,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
    excluding: Sequence[Cursor] = (),
    bodies: int | None = None,
) -> Page:
    """Read the next objects, as Seen; one that is deleted meanwhile is left out.

    bodies: read them too, so many bytes at most, unless the first object alone has more.
    """
    with connection.translate(f"reading {prefix}"):
        page = wanted(
            connection,
            prefix,
            suffix=suffix,
            within=within,
            after=after,
            limit=limit,
            excluding=excluding,
            most=bodies,
        )
        see = _described if bodies is None else _opened
        found = [seen for seen in connection.each(lambda key: see(connection, key), page.keys) if seen]
    return Page(
        records=tuple(found),
        cursor=page.cursor,
        last=page.last,
        size=sum(seen.state["size"] for seen in found),
    )


def _described(connection: Connection, key: str) -> Seen | None:
    state = look(connection, key)
    return None if state is None else Seen(what=info_of(key, state), state=state)


def _opened(connection: Connection, key: str) -> Seen | None:
    try:
        answer = connection.client.get_object(Bucket=connection.bucket, Key=key)
    except ClientError as problem:
        if code_of(problem) not in MISSING:
            raise
        return None
    try:
        if answer["ContentLength"] > LARGEST_BODY:
            raise DataError(
                f"object {key!r} has {answer['ContentLength']:,} bytes, and a function is given at most "
                f"{LARGEST_BODY:,}. Use ops.update_metadata or ops.move_objects, which read no body, or "
                "ops.run_python with the client's own streams.",
                key=key,
                size=answer["ContentLength"],
            )
        body = answer["Body"].read()
    finally:
        answer["Body"].close()
    state = from_answer(connection, key, answer)
    stored = StoredObject(
        key=key,
        body=body,
        content_type=state["content_type"],
        metadata=dict(state["metadata"]),
        tags=dict(state["tags"]),
    )
    return Seen(what=stored, state=state)


def fetch(connection: Connection, keys: Sequence[str]) -> dict[str, Seen]:
    """Read the objects with these keys, bodies included, of those that are there."""
    with connection.translate("reading objects"):
        found = connection.each(lambda key: _opened(connection, key), keys)
        return {seen.what.key: seen for seen in found if seen is not None}


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
        seen = _opened(connection, key)
    if seen is None:
        raise DataError(
            f"there is no object {key!r} in {connection.translate.where}. See who deleted it.", key=key
        )
    assert isinstance(seen.what, StoredObject)
    return seen.what


def count(connection: Connection, prefix: Prefix, suffix: str, excluding: Sequence[Cursor] = ()) -> int:
    """Count objects, those at the places `excluding` left out."""
    left = {key_of(cursor) for cursor in excluding}
    with connection.translate(f"counting {prefix}"):
        return sum(1 for key in keys(connection, prefix.name) if key.endswith(suffix) and key not in left)


def start_of(prefix: Prefix | Everything) -> str:
    """Return what the keys start with."""
    return "" if isinstance(prefix, Everything) else prefix.name


def fingerprint(connection: Connection, prefix: Prefix | Everything) -> Fingerprint:
    """Read every object, in bounded memory. A prefix is always present: it is a way to look at a bucket."""
    total = names = contents = 0
    with connection.translate(f"fingerprinting {prefix}"):
        for page in key_pages(connection, start_of(prefix)):
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


def fingerprint_of_keys(connection: Connection, prefix: Prefix | Everything) -> Fingerprint:
    """List every object and read none."""
    total = names = 0
    with connection.translate(f"listing {prefix}"):
        for page in key_pages(connection, start_of(prefix)):
            total += len(page)
            names += sum(_digest(key.encode()) for key in page)
    return Fingerprint(present=True, count=total, keys=f"{names % MODULUS:032x}")


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
