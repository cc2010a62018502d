"""Write changes, each only if its object still is what it was."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from botocore.exceptions import ClientError

from lockstep.domain.errors import DataError
from lockstep.domain.exchange import Applied
from lockstep.domain.progress import Change
from lockstep.domain.quarantine import Quarantined
from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.copying import copy, put
from lockstep.stores.s3.errors import FAILED_CONDITION, NOT_TAKEN, code_of
from lockstep.stores.s3.guarding import Outcome, delete, guards
from lockstep.stores.s3.moving import MOVED_AT_ONCE, delete_moved, is_move, move
from lockstep.stores.s3.reading import cursor_of
from lockstep.stores.s3.state import State, look, matches


def apply(connection: Connection, changes: Sequence[Change], may_write: Callable[[], None]) -> Applied:
    """Write the changes; writing them again changes nothing. `may_write` is called before each, and may raise."""
    outcomes: list[Outcome | Quarantined] = []
    for part, moves in _parts(changes):
        done = list(connection.each(lambda change: _apply(connection, change, may_write), part))
        outcomes += delete_moved(connection, part, done, may_write) if moves else done
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


def _parts(changes: Sequence[Change]) -> Iterator[tuple[Sequence[Change], bool]]:
    """Yield the changes, and whether they are moves, which come a few at a time: their sources wait for the rest."""
    for moves, found in itertools.groupby(changes, is_move):
        part = list(found)
        size = MOVED_AT_ONCE if moves else len(part)
        yield from ((part[start : start + size], moves) for start in range(0, len(part), size))


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
        return matches(connection, change.key, change.before, look(connection, change.key))


def _applied(connection: Connection, change: Change, may_write: Callable[[], None]) -> Outcome:
    with connection.translate(f"writing object {change.key!r}"):
        if is_move(change):
            return move(connection, change.before, change.after, may_write)
        return _write(connection, change.key, change.before, change.after, may_write)


def _write(
    connection: Connection,
    key: str,
    before: State | None,
    after: State | None,
    may_write: Callable[[], None],
) -> Outcome:
    now = look(connection, key)
    if matches(connection, key, after, now):
        return Outcome.ALREADY
    if not matches(connection, key, before, now):
        return Outcome.CONFLICT
    # An object that an undo has brought back is its before-image again: only the lease tells that apart.
    may_write()
    try:
        if after is None:
            delete(connection, key, now)
        else:
            # Where the server does not guard, the lease keeps our own writers out of this gap.
            _give(connection, key, now, after)
    except ClientError as problem:
        if code_of(problem) not in FAILED_CONDITION:
            raise
        now = look(connection, key)
        return Outcome.ALREADY if matches(connection, key, after, now) else Outcome.CONFLICT
    return Outcome.WRITTEN


def _give(connection: Connection, key: str, now: State | None, after: State) -> None:
    if "inline" not in after:
        copy(connection, after["body"] or key, key, after, **guards(connection, now))
        return
    condition = {"IfNoneMatch": "*"} if now is None else {"IfMatch": now["etag"]}
    put(connection, key, after, **(condition if connection.capabilities.guards_puts else {}))
