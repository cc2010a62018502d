"""Let what a downgrade took back be taken back again, once the data is what it was before that downgrade."""

from __future__ import annotations

from lockstep.domain.resources import Postgres
from lockstep.domain.revision import Revision
from lockstep.domain.status import RunStatus
from lockstep.engine.quarantine import tries_of
from lockstep.engine.services import Services

_APPLIED = (RunStatus.APPLIED, RunStatus.APPLIED_WITH_QUARANTINE)


def rearm(services: Services, revision: Revision, applied_run: str) -> int:
    """Mark the journal of an application, and of what tried its quarantine again, as not taken back.

    A revision that is applied again by a restore would otherwise have nothing to go back to. Return how many records
    of tables and batches that were; again, none.
    """
    tries = [run.id for run in tries_of(services, applied_run) if run.status in _APPLIED]
    marked = 0
    for run_id in (applied_run, *tries):
        for database in revision.databases:
            if isinstance(database, Postgres):
                marked += services.tables(database).rearm(run_id)
        for step in range(1, len(revision.upgrade) + 1):
            for entry in services.ledger.batches(run_id, "upgrade", step):
                if entry.state == "undone":
                    services.ledger.set_batch_state(run_id, "upgrade", entry, "applied")
                    marked += 1
    return marked
