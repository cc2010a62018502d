"""Leases: who works on a run, on the ledger's clock."""

from __future__ import annotations

import os
import socket

from lockstep.domain.errors import StaleEpoch
from lockstep.domain.run import Standing
from lockstep.stores.ledger import runs
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import utc
from lockstep.stores.ledger.rows import pause_of

# The lease, renewed where the run's epoch is still ours. FOR SHARE waits for a takeover that is committing.
_RENEW = """
    WITH mine AS (
        SELECT id, epoch FROM _migration_runs WHERE id = %(run)s AND epoch = %(epoch)s FOR SHARE
    )
    INSERT INTO _migration_leases (run_id, epoch, holder, renewed_at, expires_at)
    SELECT id, epoch, %(holder)s, clock_timestamp(), clock_timestamp() + make_interval(secs => %(seconds)s)
    FROM mine
    ON CONFLICT (run_id) DO UPDATE SET
        epoch = excluded.epoch, holder = excluded.holder,
        renewed_at = excluded.renewed_at, expires_at = excluded.expires_at
    RETURNING renewed_at
"""
# What the run is asked to do.
_PAUSE = "SELECT pause_by, pause_reason, paused_at FROM _migration_runs WHERE id = %s"
# Whether somebody worked on the run, and has fallen silent for longer than the lease.
_SILENT = """
    SELECT l.expires_at < clock_timestamp() AND EXISTS (
        SELECT FROM _migration_shards s WHERE s.run_id = l.run_id AND s.state = 'running'
    ) AS silent
    FROM _migration_leases l WHERE l.run_id = %s
"""
# Seconds since the lease ran out.
_AGE = """
    SELECT extract(epoch FROM clock_timestamp() - expires_at)::float8 AS age
    FROM _migration_leases WHERE run_id = %s
"""
# Leases that ran out, of runs that have ended.
_ENDED = """
    SELECT l.run_id FROM _migration_leases l JOIN _migration_runs r ON r.id = l.run_id
    WHERE r.status <> 'open' AND l.expires_at < clock_timestamp() ORDER BY l.run_id
"""
# Take one away, unless its run was opened again.
_REMOVE = """
    DELETE FROM _migration_leases l USING _migration_runs r
    WHERE r.id = l.run_id AND l.run_id = ANY(%s) AND r.status <> 'open' AND l.expires_at < clock_timestamp()
"""
# A number higher than any before.
_NEXT_EPOCH = "SELECT nextval('_migration_epoch') AS epoch"


def heartbeat(db: Db, run_id: str, run_epoch: int, seconds: float) -> Standing:
    """Renew the lease for `seconds`; StaleEpoch, saying by whom, where the run was taken over."""
    values = {"run": run_id, "epoch": run_epoch, "seconds": seconds, "holder": holder()}
    renewed = db.execute(_RENEW, values).fetchone()
    if renewed is None:
        now = runs.run(db, run_id)
        raise StaleEpoch(
            f"run {run_id} was taken over by {now.caller.dag_id} / {now.caller.dag_run_id} "
            f"(epoch {now.epoch}, ours {run_epoch}). This worker wrote nothing more; follow that DAG run.",
            run=run_id,
            epoch=run_epoch,
            current=now.epoch,
        )
    row = db.execute(_PAUSE, [run_id]).fetchone()
    return Standing(now=utc(renewed["renewed_at"]), pause=None if row is None else pause_of(row))


def silent(db: Db, run_id: str) -> bool:
    """Whether a worker of the run has not renewed the lease for longer than it lasts, and did not say why."""
    row = db.execute(_SILENT, [run_id]).fetchone()
    return row is not None and bool(row["silent"])


def lease_age(db: Db, run_id: str) -> float | None:
    row = db.execute(_AGE, [run_id]).fetchone()
    return None if row is None else float(row["age"])


def ended(db: Db, *, remove: bool) -> list[str]:
    """Return the ended runs whose leases have run out; remove: those leases go."""
    found = [row["run_id"] for row in db.execute(_ENDED)]
    if remove and found:
        db.execute(_REMOVE, [found])
    return found


def next_epoch(db: Db) -> int:
    row = db.execute(_NEXT_EPOCH).fetchone()
    return int(row["epoch"]) if row else 0


def holder() -> str:
    """This process, as others may find it."""
    return f"{socket.gethostname()}:{os.getpid()}"
