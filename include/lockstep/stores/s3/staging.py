"""Say what is to become of objects, as changes that need nothing but what already lies in the bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

import zstandard

from lockstep.domain.errors import ConflictError, DataError
from lockstep.domain.objects import ObjectInfo, StoredObject
from lockstep.domain.progress import Change
from lockstep.stores.s3.connection import OWN, Connection
from lockstep.stores.s3.copying import copy
from lockstep.stores.s3.state import State, body_digest, described, look, same_description

JOURNAL = f"{OWN}journal/"
#: bytes of a key in S3
LONGEST_KEY = 1024

Pair = tuple[StoredObject | None, StoredObject | None]


def stage(connection: Connection, area: str, objects: Sequence[Pair]) -> list[Change]:
    """Keep the bodies before and after, and return changes that name them."""
    with connection.translate(f"staging below {JOURNAL}{area}/"):
        return list(connection.each(lambda pair: _stage(connection, area, *pair), objects))


def _stage(
    connection: Connection, area: str, before: StoredObject | None, after: StoredObject | None
) -> Change:
    one = after or before
    if one is None:
        raise DataError("a change needs an object before or after it.", area=area)
    if before is not None and after is not None and before.key != after.key:
        raise DataError(
            f"object {before.key!r} would get the key {after.key!r}. Use ops.move_objects to give it another key.",
            key=before.key,
        )
    require_key(one.key)
    # Named by area and key alone, so that staging again writes the same objects again.
    place = f"{JOURNAL}{area}/{hashlib.sha256(one.key.encode()).hexdigest()}"
    if before is None:
        return Change(key=one.key, before=None, after=_wanted(connection, one, {}, place))
    then = _present(connection, before)
    if after is not None and before.body == after.body:
        changed = described(after.key, after.content_type, after.metadata, after.tags)
        return Change(key=one.key, before=then, after={**then, **changed})
    then = {**then, "body": f"{place}.before"}
    if not _keep(connection, before, then):
        connection.client.put_object(Bucket=connection.bucket, Key=then["body"], Body=before.body)
    wanted = None if after is None else _wanted(connection, after, then["headers"], place)
    return Change(key=one.key, before=then, after=wanted)


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
    copy(connection, before.key, then["body"], {**then, "tags": {}, "headers": {}})
    kept = look(connection, then["body"])
    return kept is not None and kept["etag"].strip('"') == _md5(before.body)


def _wanted(connection: Connection, after: StoredObject, headers: dict[str, str], place: str) -> State:
    body = f"{place}.after"
    put = connection.client.put_object(Bucket=connection.bucket, Key=body, Body=after.body)
    return {
        **described(after.key, after.content_type, after.metadata, after.tags),
        "etag": str(put.get("ETag", "")),
        "size": len(after.body),
        "sha256": hashlib.sha256(after.body).hexdigest(),
        "headers": headers,
        "opaque": False,
        "body": body,
    }


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def stage_metadata(connection: Connection, pairs: Sequence[tuple[ObjectInfo, ObjectInfo]]) -> list[Change]:
    """Return changes of descriptions; no body is read, and none is kept."""
    with connection.translate("looking at objects"):
        return list(connection.each(lambda pair: _stage_metadata(connection, *pair), pairs))


def _stage_metadata(connection: Connection, before: ObjectInfo, after: ObjectInfo) -> Change:
    if before.key != after.key or before.size != after.size:
        raise DataError(
            f"object {before.key!r}: only content type, metadata and tags can change without its body. "
            "Use ops.move_objects for its key, and ops.transform_objects for its body.",
            key=before.key,
        )
    now = look(connection, before.key)
    wanted = {
        "content_type": before.content_type,
        "metadata": before.metadata,
        "tags": before.tags,
        "headers": (now or {}).get("headers", {}),
    }
    if now is None or now["size"] != before.size or not same_description(wanted, now):
        raise ConflictError(resource=connection.translate.where, keys=(before.key,), doing="staging it")
    changed = described(after.key, after.content_type, after.metadata, after.tags)
    return Change(key=before.key, before=now, after={**now, **changed})


def stage_moves(connection: Connection, moves: Sequence[tuple[str, str]]) -> list[Change]:
    """Return changes that move objects: a state and where it is, before and after.

    DataError, before anything moves, where two would land on one key or one on a key that is taken. A source
    that is gone while its target is there was moved already.
    """
    targets: dict[str, str] = {}
    shortened = [(source, shorten(target)) for source, target in moves]
    for source, target in shortened:
        require_key(target)
        if target in targets and targets[target] != source:
            raise DataError(
                f"objects {targets[target]!r} and {source!r} would both become {target!r}. "
                "Give rename= a function that keeps them apart.",
                keys=(targets[target], source),
                target=target,
            )
        targets[target] = source
    with connection.translate("looking at objects to move"):
        return list(connection.each(lambda move: _stage_move(connection, *move), shortened))


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


def shorten(target: str) -> str:
    """Return a key that S3 takes for one below the reserved prefix, which may be too long by that prefix."""
    if not target.startswith(OWN) or len(target.encode()) <= LONGEST_KEY:
        return target
    digest = hashlib.sha256(target.encode()).hexdigest()
    return f"{target.encode()[: LONGEST_KEY - 80].decode(errors='ignore')}~{digest}"


def require_key(key: str) -> None:
    if not key or len(key.encode()) > LONGEST_KEY:
        raise DataError(
            f"{key[:80]!r}… is no key: S3 takes 1 to {LONGEST_KEY} bytes, and it has {len(key.encode())}. "
            "Give rename= a function that makes it shorter.",
            key=key,
        )


def swap(changes: Sequence[Change]) -> list[Change]:
    """Return the changes that take these back, last first."""
    return [replace(change, before=change.after, after=change.before) for change in reversed(changes)]


def pack(changes: Sequence[Change]) -> bytes:
    """Return the changes as compressed JSON, one line each."""
    lines = [json.dumps([c.key, c.before, c.after], ensure_ascii=False, sort_keys=True) for c in changes]
    return zstandard.ZstdCompressor(level=3).compress("\n".join(lines).encode())


def unpack(packed: bytes) -> list[Change]:
    """Return the changes that `pack` packed; DataError for anything else."""
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            text = reader.read().decode()
        found = [json.loads(line) for line in text.split("\n") if line]
        return [Change(key=key, before=before, after=after) for key, before, after in found]
    except (zstandard.ZstdError, ValueError, TypeError) as problem:
        raise DataError(f"this is no batch of object changes: {problem}.") from problem
