"""A person's word that a run is to wait between batches, and the word that lets it go on."""

from __future__ import annotations

from lockstep.domain.errors import Refused
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.stores.ledger import history, runs
from lockstep.stores.ledger.plain import text
from lockstep.stores.ledger.rows import run_of
from lockstep.stores.ledger.unit import PostgresLedgerUnit

# Who wants the run to wait; a second word does not make the pause younger.
_PAUSE = """
    UPDATE _migration_runs SET
        pause_by = %(by)s, pause_reason = %(reason)s, paused_at = coalesce(paused_at, clock_timestamp())
    WHERE id = %(id)s RETURNING *
"""
# The run may go on.
_RESUME = """
    UPDATE _migration_runs SET pause_by = NULL, pause_reason = NULL, paused_at = NULL
    WHERE id = %(id)s RETURNING *
"""


def pause(unit: PostgresLedgerUnit, run_id: str, by: str, reason: str) -> Run:
    """Let a run wait; Refused for one that has ended."""
    run = unit.run(run_id)
    if run.status is not RunStatus.OPEN:
        raise Refused(
            f"run {run_id} has ended as {run.status}: there is nothing to pause. Look for the run that is open.",
            run=run_id,
        )
    return _changed(unit, run, _PAUSE, "paused", by, reason)


def resume(unit: PostgresLedgerUnit, run_id: str, by: str) -> Run:
    """Let a run go on; one that does not wait is returned as it is."""
    run = unit.run(run_id)
    return run if run.pause is None else _changed(unit, run, _RESUME, "resumed", by, "")


def _changed(unit: PostgresLedgerUnit, run: Run, statement: str, kind: str, by: str, reason: str) -> Run:
    row = unit.db.execute(statement, {"id": run.id, "by": text(by), "reason": text(reason)}).fetchone()
    if row is None:
        raise runs.unknown_run(run.id)
    detail = {"by": by, "reason": reason} if reason else {"by": by}
    unit.append(history.Entry(kind=kind, who=by, revision=run.revision, run_id=run.id, detail=detail), run)
    unit.say(
        run.id,
        f"migration.{kind}",
        {"revision": run.revision, "direction": run.direction, "run": run.id, **detail},
    )
    return run_of(row)
