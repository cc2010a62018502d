"""Records that a run left as they were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from lockstep.domain.errors import QuarantineFull
from lockstep.domain.progress import Fence
from lockstep.domain.quarantine import Quarantined, QuarantinedRecord
from lockstep.stores.ledger import shards
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import error_text, text
from lockstep.stores.ledger.rows import quarantined_of

# One record; found again it has the newer error.
_LIST = """
    INSERT INTO _migration_quarantine (run_id, phase, step, shard, key, shown, conn_id, resource, error)
    VALUES (%(run_id)s, %(phase)s, %(step)s, %(shard)s, %(key)s, %(shown)s, %(conn_id)s, %(resource)s, %(error)s)
    ON CONFLICT (run_id, phase, step, shard, key) DO UPDATE SET error = excluded.error
"""
# One shard of a run at a time.
_LOCK_RUN = "SELECT id FROM _migration_runs WHERE id = %s FOR NO KEY UPDATE"
# How many records a run has left.
_COUNT = "SELECT count(*) AS listed FROM _migration_quarantine WHERE run_id = %s"
# What a run left, or all that waits.
_READ = """
    SELECT * FROM _migration_quarantine
    WHERE CASE WHEN %(run)s::text IS NULL THEN resolved_by IS NULL ELSE run_id = %(run)s END
    ORDER BY at, run_id, step, shard, key
"""
# Another run has them now.
_RESOLVE = """
    UPDATE _migration_quarantine SET resolved_by = %(by)s
    WHERE run_id = %(run)s AND run_id <> %(by)s AND resolved_by IS NULL
"""


def add(
    db: Db, fence: Fence, conn_id: str, resource: str, records: Sequence[Quarantined], budget: int
) -> None:
    """List records under the locks of run and shard; StaleEpoch where the shard is another's.

    QuarantineFull where the run would have more than its budget.
    """
    # The run first, as everywhere: two shards that list at once count one after the other.
    db.execute(_LOCK_RUN, [fence.run_id])
    shards.hold(db, fence)
    for record in records:
        db.execute(
            _LIST,
            {
                **asdict(fence),
                "conn_id": conn_id,
                "resource": resource,
                "key": record.key,
                "shown": text(record.shown),
                "error": error_text(record.error),
            },
        )
    row = db.execute(_COUNT, [fence.run_id]).fetchone()
    if row is not None and row["listed"] > budget:
        raise QuarantineFull(
            f"{resource}, record {records[0].shown}: {records[0].error} With it run {fence.run_id} would have "
            f"{row['listed']} record(s) in quarantine, and its budget is {budget}. Mend the revision or the data, or "
            "trigger it with a larger quarantine_budget.",
            run=fence.run_id,
            keys=tuple(record.shown for record in records),
            budget=budget,
        )


def read(db: Db, run_id: str | None) -> list[QuarantinedRecord]:
    return [quarantined_of(row) for row in db.execute(_READ, {"run": run_id})]


def resolve(db: Db, run_id: str, by: str) -> int:
    return db.execute(_RESOLVE, {"run": run_id, "by": by}).rowcount
