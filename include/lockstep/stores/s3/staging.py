"""Say what is to become of objects, as changes that need nothing but what already lies in the bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from lockstep.domain.errors import BadRecords, ConflictError, DataError
from lockstep.domain.objects import ObjectInfo, Seen, StoredObject
from lockstep.domain.progress import Change
from lockstep.domain.quarantine import Quarantined
from lockstep.stores.s3.connection import OWN, Connection
from lockstep.stores.s3.copying import copy
from lockstep.stores.s3.reading import cursor_of
from lockstep.stores.s3.state import State, body_digest, described, look, same_description

JOURNAL = f"{OWN}journal/"
#: bytes of a key in S3
LONGEST_KEY = 1024

#: bytes; a body up to here travels in the change, and with it in the journal: one request for a whole batch
INLINE = 1024 * 1024

Pair = tuple[Seen | StoredObject | None, StoredObject | None]


def stage(connection: Connection, area: str, objects: Sequence[Pair]) -> list[Change]:
    """Return changes that hold the bodies before and after, or name them where they are large and kept aside."""
    with connection.translate(f"staging below {JOURNAL}{area}/"):
        return _all(connection, lambda pair: _stage(connection, area, *pair), objects, _key_of)


def _all(
    connection: Connection,
    do: Callable[[Any], Change],
    given: Sequence[tuple[Any, Any]],
    key_of: Callable[[tuple[Any, Any]], str | None],
) -> list[Change]:
    """Make a change of each; BadRecords names all of which none can be made."""

    def attempt(one: tuple[Any, Any]) -> Change | Quarantined:
        try:
            return do(one)
        except DataError as problem:
            key = key_of(one)
            if key is None:
                raise
            return Quarantined(key=cursor_of(key), shown=repr(key), error=problem.message)

    made = list(connection.each(attempt, given))
    bad = tuple(one for one in made if isinstance(one, Quarantined))
    if bad:
        raise BadRecords(resource=connection.translate.where, records=bad)
    return [one for one in made if isinstance(one, Change)]


def _key_of(pair: tuple[Any, Any]) -> str | None:
    one = next((one for one in pair if one is not None), None)
    if one is None:
        return None
    return str(one.what.key if isinstance(one, Seen) else one.key)


def _stage(
    connection: Connection, area: str, seen: Seen | StoredObject | None, after: StoredObject | None
) -> Change:
    before = _stored(seen)
    one = after or before
    if one is None:
        raise DataError("a change needs an object before or after it.", area=area)
    if before is not None and after is not None and before.key != after.key:
        raise DataError(
            f"object {before.key!r} would get the key {after.key!r}. Use ops.move_objects to give it another key.",
            key=before.key,
        )
    require_key(connection, one.key)
    # Named by area and key alone, so that staging again writes the same objects again.
    place = f"{JOURNAL}{area}/{hashlib.sha256(one.key.encode()).hexdigest()}"
    if before is None:
        return Change(key=one.key, before=None, after=_wanted(connection, one, {}, place))
    then = _seen(seen, before) or _present(connection, before)
    if after is not None and before.body == after.body:
        changed = described(after.key, after.content_type, after.metadata, after.tags)
        return Change(key=one.key, before=then, after={**then, **changed})
    then = _kept(connection, before, then, place)
    wanted = None if after is None else _wanted(connection, after, then["headers"], place)
    return Change(key=one.key, before=then, after=wanted)


def _stored(seen: Seen | StoredObject | None) -> StoredObject | None:
    if not isinstance(seen, Seen):
        return seen
    assert isinstance(seen.what, StoredObject)
    return seen.what


def _seen(seen: Seen | StoredObject | None, before: StoredObject) -> State | None:
    """Return the state that came with the body itself; whether it still is so is asked when it is written."""
    if not isinstance(seen, Seen):
        return None
    return {**seen.state, "sha256": hashlib.sha256(before.body).hexdigest()}


def _kept(connection: Connection, before: StoredObject, then: State, place: str) -> State:
    """Return the state with its body: held, or copied aside."""
    if len(before.body) <= INLINE:
        return {**then, "inline": before.body}
    kept = {**then, "body": f"{place}.before"}
    if not _keep(connection, before, kept):
        connection.client.put_object(Bucket=connection.bucket, Key=kept["body"], Body=before.body)
    return kept


def _present(connection: Connection, before: StoredObject) -> State:
    """Return the state of an object that was read before; ConflictError if it is another one now."""
    now = look(connection, before.key)
    wanted = {
        "content_type": before.content_type,
        "metadata": before.metadata,
        "tags": before.tags,
        "headers": (now or {}).get("headers", {}),
    }
    if now is None or now["size"] != len(before.body) or not same_description(wanted, now):
        raise ConflictError(resource=connection.translate.where, keys=(before.key,), doing="staging it")
    digest = hashlib.sha256(before.body).hexdigest()
    # Another ETag is another body, unless the server makes ETags in a way of its own.
    differs = now["etag"].strip('"') != _md5(before.body)
    if differs and not (now["opaque"] and body_digest(connection, before.key) == digest):
        raise ConflictError(resource=connection.translate.where, keys=(before.key,), doing="staging it")
    return {**now, "sha256": digest}


def _keep(connection: Connection, before: StoredObject, then: State) -> bool:
    """Copy the present body aside on the server; False where its ETag does not tell that it is the one read."""
    if then["opaque"]:
        return False
    etag = copy(connection, before.key, then["body"], {**then, "tags": {}, "headers": {}})
    return etag.strip('"') == _md5(before.body)


def _wanted(connection: Connection, after: StoredObject, headers: dict[str, str], place: str) -> State:
    wanted: State = {
        **described(after.key, after.content_type, after.metadata, after.tags),
        # As most servers make it of a body that comes in one piece; where it is another one, the bodies decide.
        "etag": f'"{_md5(after.body)}"',
        "size": len(after.body),
        "sha256": hashlib.sha256(after.body).hexdigest(),
        "headers": headers,
        "opaque": False,
        "body": None,
    }
    if len(after.body) <= INLINE:
        return {**wanted, "inline": after.body}
    body = f"{place}.after"
    put = connection.client.put_object(Bucket=connection.bucket, Key=body, Body=after.body)
    return {**wanted, "etag": str(put.get("ETag", "")), "body": body}


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def stage_metadata(
    connection: Connection, pairs: Sequence[tuple[Seen | ObjectInfo, ObjectInfo]]
) -> list[Change]:
    """Return changes of descriptions; no body is read, and none is kept."""
    with connection.translate("looking at objects"):
        return _all(connection, lambda pair: _stage_metadata(connection, *pair), pairs, _key_of)


def _stage_metadata(connection: Connection, seen: Seen | ObjectInfo, after: ObjectInfo) -> Change:
    before = seen.what if isinstance(seen, Seen) else seen
    assert isinstance(before, ObjectInfo)
    if before.key != after.key or before.size != after.size:
        raise DataError(
            f"object {before.key!r}: only content type, metadata and tags can change without its body. "
            "Use ops.move_objects for its key, and ops.transform_objects for its body.",
            key=before.key,
        )
    now = seen.state if isinstance(seen, Seen) else _as_described(connection, before)
    changed = described(after.key, after.content_type, after.metadata, after.tags)
    return Change(key=before.key, before=now, after={**now, **changed})


def _as_described(connection: Connection, before: ObjectInfo) -> State:
    """Return the state of an object that was looked at before; ConflictError if it is another one now."""
    now = look(connection, before.key)
    wanted = {
        "content_type": before.content_type,
        "metadata": before.metadata,
        "tags": before.tags,
        "headers": (now or {}).get("headers", {}),
    }
    if now is None or now["size"] != before.size or not same_description(wanted, now):
        raise ConflictError(resource=connection.translate.where, keys=(before.key,), doing="staging it")
    return now


def stage_moves(connection: Connection, moves: Sequence[tuple[str, str]]) -> list[Change]:
    """Return changes that move objects: a state and where it is, before and after.

    BadRecords, before anything moves, where two would land on one key or one on a key that is taken. A source
    that is gone while its target is there was moved already.
    """
    targets: dict[str, str] = {}
    for source, target in moves:
        targets.setdefault(shorten(connection, target), source)

    def stage(move: tuple[str, str]) -> Change:
        source, target = move[0], shorten(connection, move[1])
        require_key(connection, target)
        if targets[target] != source:
            raise DataError(
                f"objects {targets[target]!r} and {source!r} would both become {target!r}. "
                "Give rename= a function that keeps them apart.",
                keys=(targets[target], source),
                target=target,
            )
        return _stage_move(connection, source, target)

    with connection.translate("looking at objects to move"):
        return _all(connection, stage, moves, lambda move: str(move[0]))


def _stage_move(connection: Connection, source: str, target: str) -> Change:
    here, there = look(connection, source), look(connection, target)
    if here is not None and there is not None:
        raise DataError(
            f"object {source!r} would become {target!r}, and that is there already. "
            "Move or delete that one first, or give rename= another function.",
            key=source,
            target=target,
        )
    state = here or there
    if state is None:
        raise ConflictError(resource=connection.translate.where, keys=(source,), doing="moving it")
    return Change(
        key=source,
        before={"at": source, "not_at": target, **state},
        after={"at": target, "not_at": source, **state},
    )


def longest_key(connection: Connection) -> int:
    """Return the bytes of the longest key: in a scratch space, its root is a part of each."""
    return LONGEST_KEY - len(connection.root.encode())


def shorten(connection: Connection, target: str) -> str:
    """Return a key that S3 takes for one below the reserved prefix, which may be too long by that prefix."""
    most = longest_key(connection)
    if not target.startswith(OWN) or len(target.encode()) <= most:
        return target
    digest = hashlib.sha256(target.encode()).hexdigest()
    return f"{target.encode()[: most - 80].decode(errors='ignore')}~{digest}"


def require_key(connection: Connection, key: str) -> None:
    most = longest_key(connection)
    if not key or len(key.encode()) > most:
        within = f" within {connection.root}" if connection.root else ""
        raise DataError(
            f"{key[:80]!r}… is no key: S3 takes 1 to {most} bytes{within}, and it has {len(key.encode())}. "
            "Give rename= a function that makes it shorter.",
            key=key,
        )


def swap(changes: Sequence[Change]) -> list[Change]:
    """Return the changes that take these back, last first."""
    return [replace(change, before=change.after, after=change.before) for change in reversed(changes)]
