"""What must hold before any effect: an open run, a proven backup, the file that the run began with."""

from __future__ import annotations

from lockstep.domain.errors import BackupNotProven, Refused
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.services import Services
from lockstep.engine.unchanged import refuse_changed


def guarded(services: Services, revision: Revision, run: Run) -> Run:
    """Return the run as the ledger has it now, once it may have effects; renew its lease.

    A task of a failed run that a person cleared reopens it. Raises Refused, BackupNotProven, StaleEpoch.
    """
    refuse_changed(run, revision)
    current = services.ledger.run(run.id)
    if current.status is RunStatus.FAILED:
        with services.ledger.unit() as unit:
            current = reopen(unit, current, "its task was cleared")
        services.log.warning("going on with a failed run, since its task was cleared", run=run.id)
    if current.status is not RunStatus.OPEN:
        raise Refused(
            f"run {run.id} has ended as {current.status}: there is nothing left to do in it. Trigger the DAG "
            "again to move the revision.",
            run=run.id,
        )
    if not current.backed_up:
        raise BackupNotProven(f"run {run.id} has no proven backup. Clear the backup tasks first.", run=run.id)
    services.ledger.heartbeat(run.id, run.epoch, services.settings.lease_seconds)
    return current


def reopen(unit: LedgerUnit, run: Run, how: str) -> Run:
    """Open a failed run again, its revision on the way that it was going when it failed."""
    unit.note(run.id, "resumed", {"how": how, "by": run.caller.by})
    state = unit.revisions()[run.revision]
    if state.status is Status.FAILED:
        forward = run.direction == "upgrade" and not run.facts.get("undoing")
        unit.set_status(run.revision, Status.UPGRADING if forward else Status.ROLLING_BACK, run_id=run.id)
    # What was chosen after the failure that ended it was for that failure alone.
    forgotten = {fact: None for fact in ("choice", "choice_back") if run.facts.get(fact)}
    return unit.change_run(run.id, status=RunStatus.OPEN, ended_at=None, facts=forgotten)
