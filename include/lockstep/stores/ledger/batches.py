"""Journaled batches: whoever inserts the row has won the batch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lockstep.domain.errors import Refused, StaleEpoch
from lockstep.domain.progress import Fence
from lockstep.domain.run import BatchEntry
from lockstep.stores.ledger import shards
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import dumps
from lockstep.stores.ledger.rows import batch_of

# The batch's one row; nothing where it is there.
_WIN = """
    INSERT INTO _migration_batches (run_id, phase, step, shard, batch, state, epoch, path, sha256, progress)
    VALUES (%(run)s, %(phase)s, %(step)s, %(shard)s, %(batch)s, %(state)s, %(epoch)s, %(path)s, %(sha256)s,
            %(progress)s::jsonb)
    ON CONFLICT DO NOTHING
"""
# What became of a batch, and where its images lie now.
_SET_STATE = """
    UPDATE _migration_batches SET
        state = %(state)s, path = %(path)s, sha256 = %(sha256)s, closed_at = clock_timestamp()
    WHERE run_id = %(run)s AND phase = %(phase)s AND step = %(step)s AND shard = %(shard)s
      AND batch = %(batch)s
"""
# Batches of a step, or of one of its shards, newest last.
_READ = """
    SELECT * FROM _migration_batches
    WHERE run_id = %(run)s AND phase = %(phase)s AND step = %(step)s
      AND (%(shard)s::int IS NULL OR shard = %(shard)s)
    ORDER BY seq
"""


def win(db: Db, fence: Fence, entry: BatchEntry) -> None:
    """Insert a batch's row while the shard is locked; StaleEpoch if it is another's or the row is there."""
    shards.hold(db, fence)
    values = {**_values(fence.run_id, fence.phase, entry), "epoch": fence.epoch}
    values["progress"] = dumps(asdict(entry.progress))
    if db.execute(_WIN, values).rowcount == 0:
        raise StaleEpoch(
            f"{fence}: batch {entry.batch} was won before. This worker wrote nothing of it; clear the task, "
            "and it goes on from the ledger.",
            run=fence.run_id,
            batch=entry.batch,
        )


def close(db: Db, fence: Fence, entry: BatchEntry, state: str) -> None:
    """Set the batch's state and the shard's progress together; StaleEpoch if the shard is another's."""
    shards.save(db, fence, entry.progress)
    set_state(db, fence.run_id, fence.phase, entry, state)


def set_state(db: Db, run_id: str, phase: str, entry: BatchEntry, state: str) -> None:
    """Set a batch's state; Refused for a batch that nobody won."""
    if db.execute(_SET_STATE, {**_values(run_id, phase, entry), "state": state}).rowcount == 0:
        raise Refused(
            f"run {run_id}, {phase} step {entry.step}, shard {entry.shard}: the ledger has no batch "
            f"{entry.batch}. Win it first.",
            run=run_id,
        )


def read(db: Db, run_id: str, phase: str, step: int, shard: int | None) -> list[BatchEntry]:
    rows = db.execute(_READ, {"run": run_id, "phase": phase, "step": step, "shard": shard})
    return [batch_of(row) for row in rows]


def _values(run_id: str, phase: str, entry: BatchEntry) -> dict[str, Any]:
    return {
        "run": run_id,
        "phase": phase,
        "step": entry.step,
        "shard": entry.shard,
        "batch": entry.batch,
        "state": entry.state,
        "path": entry.path,
        "sha256": entry.sha256,
    }
