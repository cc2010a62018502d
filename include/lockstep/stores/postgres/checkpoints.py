"""Checkpoints: how far a shard got, and who may say so.

Two locks make sure that a worker which was taken over writes nothing:
the shard's row, held by a unit from its first statement to its commit, and the run's advisory lock, shared by
units and claims and taken alone by `fence_off`, so that no claim slips past a fence that it cannot see yet.

An undo is outside the fence: it is what raises it, once for each of its shards, and one shard of an undo must
not stop another.
"""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import StaleEpoch
from lockstep.domain.progress import Fence, Progress
from lockstep.stores.postgres.text import Conn, run

#: Whoever works for a run holds this, shared, until its transaction ends.
SHARE_RUN = "SELECT pg_advisory_xact_lock_shared(hashtextextended('lockstep run ' || %(run_id)s, 0))"

#: Wait until nobody works for the run.
ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('lockstep run ' || %(run_id)s, 0))"

#: The epoch below which the run is fenced off.
FENCE = "SELECT epoch FROM lockstep_state.fences WHERE run_id = %(run_id)s"

#: Take a shard over, or make its checkpoint; an epoch only rises.
CLAIM = """
INSERT INTO lockstep_state.checkpoints AS c (run_id, phase, step, shard, epoch)
VALUES (%(run_id)s, %(phase)s, %(step)s, %(shard)s, %(epoch)s)
ON CONFLICT (run_id, phase, step, shard) DO UPDATE
SET epoch = excluded.epoch, updated_at = now() WHERE c.epoch <= excluded.epoch
RETURNING cursor, batches, read, written, inserted, quarantined, done
"""

#: Hold a shard's checkpoint until the commit, so that two workers of one shard go one after the other. The mark,
#: which nobody ever waits for, says whose session that is.
HOLD = """
SELECT epoch, pg_advisory_xact_lock_shared(hashtextextended(%(mark)s, 0)) FROM lockstep_state.checkpoints
WHERE run_id = %(run_id)s AND phase = %(phase)s AND step = %(step)s AND shard = %(shard)s
FOR UPDATE
"""

#: Whether somebody has claimed the shard after us.
LATER = """
SELECT FROM lockstep_state.checkpoints
WHERE run_id = %(run_id)s AND phase = %(phase)s AND step = %(step)s AND shard = %(shard)s
  AND epoch > %(epoch)s
"""

#: Say how far the shard got, where it still is ours.
SAVE = """
UPDATE lockstep_state.checkpoints
SET cursor = %(cursor)s, batches = %(batches)s, read = %(read)s, written = %(written)s,
    inserted = %(inserted)s, quarantined = %(quarantined)s, done = %(done)s, updated_at = now()
WHERE run_id = %(run_id)s AND phase = %(phase)s AND step = %(step)s AND shard = %(shard)s
  AND epoch = %(epoch)s
"""

#: The same without news: only to find out whether the shard still is ours.
TOUCH = """
UPDATE lockstep_state.checkpoints SET updated_at = now()
WHERE run_id = %(run_id)s AND phase = %(phase)s AND step = %(step)s AND shard = %(shard)s
  AND epoch = %(epoch)s
"""

#: Raise the fence, for shards that nobody has claimed yet.
RAISE_FENCE = """
INSERT INTO lockstep_state.fences AS f (run_id, epoch) VALUES (%(run_id)s, %(epoch)s)
ON CONFLICT (run_id) DO UPDATE SET epoch = greatest(f.epoch, excluded.epoch)
"""

#: Raise the checkpoints that are there.
RAISE_CHECKPOINTS = """
UPDATE lockstep_state.checkpoints SET epoch = %(epoch)s, updated_at = now()
WHERE run_id = %(run_id)s AND phase <> 'undo' AND epoch < %(epoch)s
"""

#: What the checkpoints of a run say.
PROGRESS = """
SELECT step, shard, cursor, batches, read, written, inserted, quarantined, done
FROM lockstep_state.checkpoints WHERE run_id = %(run_id)s AND phase = %(phase)s
"""


def claim(conn: Conn, fence: Fence) -> Progress:
    """Take over (or make) a checkpoint; StaleEpoch if a later epoch has it."""
    params = _params(fence)
    _enter(conn, fence)
    row = run(conn, CLAIM, params).fetchone()
    if row is None:
        raise _stale(fence)
    return _progress(*row)


def is_latest(conn: Conn, fence: Fence) -> bool:
    """Whether nobody with a later epoch has claimed the shard."""
    return run(conn, LATER, _params(fence)).fetchone() is None


def hold(conn: Conn, fence: Fence) -> None:
    """Lock the shard for this transaction; StaleEpoch if it is not the fence's any more."""
    params = {**_params(fence), "mark": shard_mark(fence)}
    _enter(conn, fence)
    row = run(conn, HOLD, params).fetchone()
    if row is None or row[0] != fence.epoch:
        raise _stale(fence, None if row is None else row[0])


def save(conn: Conn, fence: Fence, progress: Progress | None) -> None:
    """Write the checkpoint as the last thing before the commit; StaleEpoch if it is not the fence's."""
    if progress is None:
        saved = run(conn, TOUCH, _params(fence))
    else:
        saved = run(conn, SAVE, {**_params(fence), **vars(progress)})
    if saved.rowcount != 1:
        raise _stale(fence)


def fence_off(conn: Conn, run_id: str, epoch: int) -> None:
    """Raise a run's checkpoints, those to come included, once whoever is in a transaction for it is done."""
    params = {"run_id": run_id, "epoch": epoch}
    run(conn, ALONE, params)
    run(conn, RAISE_FENCE, params)
    run(conn, RAISE_CHECKPOINTS, params)


def progress_of(conn: Conn, run_id: str, phase: str) -> dict[tuple[int, int], Progress]:
    """Return what the checkpoints of a run say, by (step, shard)."""
    rows = run(conn, PROGRESS, {"run_id": run_id, "phase": phase})
    return {(step, shard): _progress(*rest) for step, shard, *rest in rows}


def run_mark(run_id: str) -> str:
    """Return what the key of the lock is made of that every session at work for a run holds."""
    return f"lockstep run {run_id}"


def shard_mark(fence: Fence) -> str:
    """Return what the key of the lock is made of that the session at work on a shard holds."""
    return f"lockstep shard {fence.run_id}/{fence.phase}/{fence.step}/{fence.shard}"


def _enter(conn: Conn, fence: Fence) -> None:
    """Hold the fence where it is until this transaction ends; StaleEpoch for who is behind it."""
    if fence.phase == "undo":
        return
    run(conn, SHARE_RUN, _params(fence))
    row = run(conn, FENCE, _params(fence)).fetchone()
    if row is not None and row[0] > fence.epoch:
        raise _stale(fence, row[0])


def _params(fence: Fence) -> dict[str, Any]:
    return dict(vars(fence))


def _progress(
    cursor: str | None, batches: int, read: int, written: int, inserted: int, quarantined: int, done: bool
) -> Progress:
    return Progress(
        cursor=cursor,
        batches=batches,
        read=read,
        written=written,
        inserted=inserted,
        quarantined=quarantined,
        done=done,
    )


def _stale(fence: Fence, found: int | None = None) -> StaleEpoch:
    now = f" (now epoch {found})" if found is not None else ""
    return StaleEpoch(
        f"{fence}: another worker has taken it over{now}, or it was never claimed; nothing of this "
        "transaction was written. Leave it to that worker.",
        run_id=fence.run_id,
        phase=fence.phase,
        step=fence.step,
        shard=fence.shard,
        epoch=fence.epoch,
        found=found,
    )
