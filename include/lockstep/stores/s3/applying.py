"""Write changes, each only if its object still is what it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from botocore.exceptions import ClientError

from lockstep.domain.errors import DataError
from lockstep.domain.exchange import Applied
from lockstep.domain.progress import Change
from lockstep.domain.quarantine import Quarantined
from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.copying import copy, put
from lockstep.stores.s3.errors import FAILED_CONDITION, MISSING, NOT_TAKEN, code_of
from lockstep.stores.s3.reading import cursor_of
from lockstep.stores.s3.state import State, body_digest, is_still, look, same_description


class Outcome(Enum):
    WRITTEN = "written"
    ALREADY = "already"
    CONFLICT = "conflict"


def apply(connection: Connection, changes: Sequence[Change], may_write: Callable[[], None]) -> Applied:
    """Write the changes; writing them again changes nothing. `may_write` is called before each, and may raise."""
    outcomes = list(connection.each(lambda change: _apply(connection, change, may_write), changes))
    return Applied(
        written=outcomes.count(Outcome.WRITTEN),
        already=outcomes.count(Outcome.ALREADY),
        conflicts=tuple(
            change.key
            for change, outcome in zip(changes, outcomes, strict=True)
            if outcome is Outcome.CONFLICT
        ),
        refused=tuple(outcome for outcome in outcomes if isinstance(outcome, Quarantined)),
    )


def _apply(connection: Connection, change: Change, may_write: Callable[[], None]) -> Outcome | Quarantined:
    try:
        return _applied(connection, change, may_write)
    except DataError as problem:
        # A server may have written a part of it before it refused the rest.
        if problem.fields.get("code") not in NOT_TAKEN or not _is_untouched(connection, change):
            raise
        return Quarantined(key=cursor_of(change.key), shown=repr(change.key), error=problem.message)


def _is_untouched(connection: Connection, change: Change) -> bool:
    with connection.translate(f"looking at object {change.key!r}"):
        return _matches(connection, change.key, change.before, look(connection, change.key))


def _applied(connection: Connection, change: Change, may_write: Callable[[], None]) -> Outcome:
    with connection.translate(f"writing object {change.key!r}"):
        if change.before is not None and "at" in change.before:
            return _move(connection, change.before, change.after, may_write)
        return _write(connection, change.key, change.before, change.after, may_write)


def _write(
    connection: Connection,
    key: str,
    before: State | None,
    after: State | None,
    may_write: Callable[[], None],
) -> Outcome:
    now = look(connection, key)
    if _matches(connection, key, after, now):
        return Outcome.ALREADY
    if not _matches(connection, key, before, now):
        return Outcome.CONFLICT
    # An object that an undo has brought back is its before-image again: only the lease tells that apart.
    may_write()
    try:
        if after is None:
            _delete(connection, key, now)
        else:
            # Where the server does not guard, the lease keeps our own writers out of this gap.
            _give(connection, key, now, after)
    except ClientError as problem:
        if code_of(problem) not in FAILED_CONDITION:
            raise
        now = look(connection, key)
        return Outcome.ALREADY if _matches(connection, key, after, now) else Outcome.CONFLICT
    return Outcome.WRITTEN


def _matches(connection: Connection, key: str, state: State | None, now: State | None) -> bool:
    if state is None or now is None:
        return state is now
    return is_still(connection, key, state, now)


def _give(connection: Connection, key: str, now: State | None, after: State) -> None:
    if "inline" not in after:
        copy(connection, after["body"] or key, key, after, **_guards(connection, now))
        return
    guards = {"IfNoneMatch": "*"} if now is None else {"IfMatch": now["etag"]}
    put(connection, key, after, **(guards if connection.capabilities.guards_puts else {}))


def _guards(connection: Connection, now: State | None) -> dict[str, Any]:
    able = connection.capabilities
    if now is None:
        return {"IfNoneMatch": "*"} if able.guards_creates else {}
    return {"IfMatch": now["etag"]} if able.guards_overwrites else {}


def _delete(connection: Connection, key: str, now: State | None) -> None:
    guarded = connection.capabilities.guards_deletes and now is not None
    condition = {"IfMatch": now["etag"]} if guarded and now is not None else {}
    connection.client.delete_object(Bucket=connection.bucket, Key=key, **condition)


def _move(connection: Connection, before: State, after: State, may_write: Callable[[], None]) -> Outcome:
    """Copy, look at the copy, and only then delete the source; cut off anywhere, it can be done again."""
    source, target = before["at"], after["at"]
    here, there = look(connection, source), look(connection, target)
    if here is None:
        return Outcome.ALREADY if there and is_still(connection, target, after, there) else Outcome.CONFLICT
    if not is_still(connection, source, before, here):
        return Outcome.CONFLICT
    may_write()
    if there is None:
        try:
            copy(connection, source, target, after, **_guards(connection, None))
        except ClientError as problem:
            if code_of(problem) not in FAILED_CONDITION | MISSING:
                raise
        there = look(connection, target)
    if there is None or not _same_object(connection, source, here, target, there):
        return Outcome.CONFLICT
    may_write()
    _delete(connection, source, here)
    return Outcome.WRITTEN


def _same_object(connection: Connection, source: str, here: State, target: str, there: State) -> bool:
    """Whether the copy is the source in every byte; where ETags cannot tell, the bodies are read."""
    if here["size"] != there["size"] or not same_description(here, there):
        return False
    if here["etag"] == there["etag"]:
        return True
    if not (here["opaque"] or there["opaque"]):
        return False
    return body_digest(connection, source) == body_digest(connection, target)
