"""Give a rehearsal's ledger the history that the data has: the revisions before the first one that is tried."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from lockstep.domain.revision import Revision
from lockstep.domain.run import Caller, RevisionState, Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine.ports import Ledger


def write_history(ledger: Ledger, applied: Sequence[Revision], caller: Caller) -> None:
    """Register revisions as applied, each by a run of its own; their files are taken to be what was applied."""
    ledger.check()
    for revision in applied:
        run = Run(
            id=f"{revision.id}-before",
            revision=revision.id,
            direction="upgrade",
            status=RunStatus.OPEN,
            caller=caller,
            checksum=revision.checksum,
            started_at=datetime.now(timezone.utc),
        )
        with ledger.unit() as unit:
            unit.register(
                RevisionState(
                    id=revision.id,
                    description=revision.description,
                    storage_type=revision.storage_type,
                    status=Status.PENDING,
                    checksum=revision.checksum,
                    down_revision=revision.down_revision,
                )
            )
            unit.add_run(run)
            unit.set_status(revision.id, Status.UPGRADING, run_id=run.id)
            unit.set_status(revision.id, Status.APPLIED, run_id=run.id)
            unit.change_run(run.id, status=RunStatus.APPLIED, backed_up=True)
