"""End runs that were left half-way, so that nobody writes for them any more."""

from __future__ import annotations

from collections.abc import Iterable

from lockstep.domain.resources import Database, Postgres
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.restoring.work import has_begun
from lockstep.engine.services import Services

#: phases whose workers must write nothing behind a backup that was put back
_PHASES = ("upgrade", "downgrade", "undo")


def close_open_run(unit: LedgerUnit, held: Run, by: str) -> None:
    """End the run that was left open, in the ledger: its revision is failed until the restore settles it.

    Its epoch rises, so that a worker that still lives is refused at its next heartbeat.
    """
    why = f"it was left half-way, and closed by restore {by}"
    unit.note(held.id, "closed", {"by": by, "why": why})
    changed = has_begun(held) if held.direction == "restore" else held.backed_up
    status = RunStatus.FAILED if changed else RunStatus.STOPPED
    unit.change_run(held.id, status=status, epoch=held.epoch + 1, error=held.error or why)
    state = unit.revisions().get(held.revision)
    if state is not None and state.status in (Status.UPGRADING, Status.ROLLING_BACK):
        unit.set_status(held.revision, Status.FAILED, run_id=held.id, reason=why, error=held.error or why)


def fence_off(services: Services, run: Run, databases: Iterable[Database]) -> None:
    """Take every shard of a run over, so that a worker thought dead writes nothing any more; let its lease go.

    A worker that claimed its shard before this has an epoch below the fence; one that claims it later is refused
    at the heartbeat before its first batch, since the run's epoch has risen.
    """
    tables = [services.tables(database) for database in databases if isinstance(database, Postgres)]
    for phase in _PHASES:
        for shard in services.ledger.shards(run.id, phase):
            fence, state = services.ledger.claim(run.id, phase, shard.step, shard.shard, "restoring")
            services.ledger.save(fence, state.progress)
            if phase == "undo":
                # The fence below lets an undo's shards through, since an undo raises it itself.
                for table in tables:
                    table.claim(fence)
    for table in tables:
        table.fence_off(run.id, services.ledger.next_epoch())
    services.ledger.heartbeat(run.id, services.ledger.run(run.id).epoch, 0.0)
