"""Shards: planned once, claimed by one worker at a time, saved only under the epoch of the claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

from lockstep.domain.errors import Refused, StaleEpoch
from lockstep.domain.progress import Fence, KeyRange, Phase, Progress
from lockstep.domain.run import ShardState
from lockstep.stores.ledger import runs
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.leases import next_epoch
from lockstep.stores.ledger.plain import dumps, text
from lockstep.stores.ledger.rows import shard_of

# Planners of one run take turns; its readers and its shards' foreign keys do not wait.
_LOCK_RUN = "SELECT id FROM _migration_runs WHERE id = %s FOR NO KEY UPDATE"
# A step's shards, in order.
_OF_STEP = """
    SELECT * FROM _migration_shards WHERE run_id = %s AND phase = %s AND step = %s ORDER BY shard
"""
# A run's shards, in order.
_OF_RUN = """
    SELECT * FROM _migration_shards
    WHERE run_id = %(run)s AND (%(phase)s::text IS NULL OR phase = %(phase)s) ORDER BY phase, step, shard
"""
# All shards of a step at once, numbered from 0.
_PLAN = """
    INSERT INTO _migration_shards (run_id, phase, step, shard, label, lower, upper, keys, estimate)
    SELECT %(run)s, %(phase)s, %(step)s, given.place - 1, given.label, given.lower, given.upper,
           given.keys::jsonb, given.estimate
    FROM unnest(%(labels)s::text[], %(lowers)s::text[], %(uppers)s::text[], %(keys)s::text[],
                %(estimates)s::bigint[])
         WITH ORDINALITY AS given (label, lower, upper, keys, estimate, place)
"""
# The shard, locked before the epoch is drawn, so that the last to claim has the highest.
_LOCK = """
    SELECT epoch FROM _migration_shards
    WHERE run_id = %s AND phase = %s AND step = %s AND shard = %s FOR NO KEY UPDATE
"""
# Who has the shard.
_HOLDER = """
    SELECT epoch, holder FROM _migration_shards
    WHERE run_id = %s AND phase = %s AND step = %s AND shard = %s
"""
# The shard's new worker; one that is done stays done.
_CLAIM = """
    UPDATE _migration_shards SET
        epoch = %(epoch)s, holder = %(holder)s, claimed_at = clock_timestamp(),
        held = NULL, state = CASE WHEN state = 'done' THEN 'done' ELSE 'running' END
    WHERE run_id = %(run)s AND phase = %(phase)s AND step = %(step)s AND shard = %(shard)s
    RETURNING *
"""
# How far the shard got, where the epoch is still the writer's.
_SAVE = """
    UPDATE _migration_shards SET
        cursor = %(cursor)s, batches = %(batches)s, read = %(read)s, written = %(written)s,
        inserted = %(inserted)s, quarantined = %(quarantined)s, done = %(done)s, rate = %(rate)s,
        saved_at = clock_timestamp(), held = NULL,
        state = CASE WHEN %(done)s THEN 'done' WHEN state = 'held' THEN 'running' ELSE state END
    WHERE run_id = %(run_id)s AND phase = %(phase)s AND step = %(step)s AND shard = %(shard)s
      AND epoch = %(epoch)s
"""

# What the shard waits for, until it is claimed or saved.
_WAIT = """
    UPDATE _migration_shards SET held = %(reason)s, state = CASE WHEN state = 'done' THEN 'done' ELSE 'held' END
    WHERE run_id = %(run_id)s AND phase = %(phase)s AND step = %(step)s AND shard = %(shard)s
      AND epoch = %(epoch)s
"""


def plan(db: Db, run_id: str, phase: str, step: int, ranges: Sequence[KeyRange]) -> list[ShardState]:
    """Record a step's shards, unless they were; return those that are recorded."""
    if db.execute(_LOCK_RUN, [run_id]).fetchone() is None:
        raise runs.unknown_run(run_id)
    planned = _of_step(db, run_id, phase, step)
    if planned:
        return planned
    values = {
        "run": run_id,
        "phase": phase,
        "step": step,
        "labels": [text(one.label) for one in ranges],
        "lowers": [one.lower for one in ranges],
        "uppers": [one.upper for one in ranges],
        "keys": [None if one.keys is None else dumps(one.keys) for one in ranges],
        "estimates": [one.estimate for one in ranges],
    }
    db.execute(_PLAN, values)
    return _of_step(db, run_id, phase, step)


def _of_step(db: Db, run_id: str, phase: str, step: int) -> list[ShardState]:
    return [shard_of(row) for row in db.execute(_OF_STEP, [run_id, phase, step])]


def of_run(db: Db, run_id: str, phase: str | None) -> list[ShardState]:
    return [shard_of(row) for row in db.execute(_OF_RUN, {"run": run_id, "phase": phase})]


def claim(db: Db, run_id: str, phase: str, step: int, shard: int, holder: str) -> tuple[Fence, ShardState]:
    """Take a shard over: whoever had it writes nothing more."""
    if db.execute(_LOCK, [run_id, phase, step, shard]).fetchone() is None:
        raise Refused(
            f"run {run_id} has no shard {shard} in {phase} step {step}. "
            "Clear the task that plans its shards.",
            run=run_id,
        )
    epoch = next_epoch(db)
    values = {"run": run_id, "phase": phase, "step": step, "shard": shard, "epoch": epoch}
    row = db.execute(_CLAIM, {**values, "holder": text(holder)}).fetchone()
    if row is None:
        raise runs.unknown_run(run_id)
    return Fence(run_id=run_id, phase=cast(Phase, phase), step=step, shard=shard, epoch=epoch), shard_of(row)


def save(db: Db, fence: Fence, progress: Progress, rate: float | None = None) -> None:
    """Set a shard's progress; StaleEpoch where the epoch is another's."""
    if db.execute(_SAVE, {**asdict(fence), **asdict(progress), "rate": rate}).rowcount == 0:
        raise taken_over(db, fence)


def wait(db: Db, fence: Fence, reason: str) -> None:
    """Say that a shard waits, and for what; StaleEpoch where the epoch is another's."""
    if db.execute(_WAIT, {**asdict(fence), "reason": text(reason)}).rowcount == 0:
        raise taken_over(db, fence)


def hold(db: Db, fence: Fence) -> None:
    """Lock the shard's row for the rest of the transaction; StaleEpoch where the epoch is another's."""
    row = db.execute(_LOCK, [fence.run_id, fence.phase, fence.step, fence.shard]).fetchone()
    if row is None or row["epoch"] != fence.epoch:
        raise taken_over(db, fence)


def refuse_stale(db: Db, fence: Fence) -> None:
    """Raise StaleEpoch where the epoch is another's; nothing is locked."""
    row = db.execute(_HOLDER, [fence.run_id, fence.phase, fence.step, fence.shard]).fetchone()
    if row is None or row["epoch"] != fence.epoch:
        raise taken_over(db, fence)


def taken_over(db: Db, fence: Fence) -> StaleEpoch:
    """Return the error that says who has the shard now."""
    row = db.execute(_HOLDER, [fence.run_id, fence.phase, fence.step, fence.shard]).fetchone()
    now = f"{row['holder']} has it, with epoch {row['epoch']}" if row else "the ledger has no such shard"
    return StaleEpoch(
        f"{fence}: {now}. This worker wrote nothing more; follow the newer attempt's log.",
        run=fence.run_id,
        epoch=fence.epoch,
        current=row["epoch"] if row else None,
    )
