"""Make the Airflow run tell the truth: green only when the database is where the run was to bring it."""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import NotAtTarget
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.recording import records_of
from lockstep.engine.services import Services

_GREEN = (
    RunStatus.APPLIED,
    RunStatus.APPLIED_WITH_QUARANTINE,
    RunStatus.DOWNGRADED,
    RunStatus.NOTHING_TO_DO,
)

_NEXT = {
    RunStatus.STOPPED: "Nothing was changed. Mend the cause and trigger the run again.",
    RunStatus.ROLLED_BACK: (
        "What the run had done is undone, and compared with what was there before. Mend the revision or the data "
        "and trigger the run again."
    ),
    RunStatus.FAILED: (
        "It blocks every later run. Mend the cause, then clear the failed task or trigger the DAG with resume = "
        "true to go on where it stopped; or trigger the DAG restore with backup = '{run}' to have back what was "
        "there before. Where you have mended the data by hand, trigger the DAG repair."
    ),
    RunStatus.OPEN: "It was not recorded. Clear the task `record` once the ledger answers.",
}


def outcome(services: Services, revision: Revision, run: Run) -> dict[str, Any]:
    """Return the run's facts; raise NotAtTarget, with the whole story, where it is not at its target."""
    run = services.ledger.run(run.id)
    manifests = services.ledger.backups(run.id)
    facts = {
        "revision": revision.id,
        "description": revision.description,
        "direction": run.direction,
        "run": run.id,
        "status": run.status.value,
        "records": records_of(services, run),
        "seconds": round((run.ended_at - run.started_at).total_seconds(), 3) if run.ended_at else None,
        "backup_bytes": sum(manifest.size for manifest in manifests),
    }
    if run.status is RunStatus.APPLIED_WITH_QUARANTINE:
        facts["quarantined"] = len(services.ledger.quarantined(run.id))
    if run.status in _GREEN:
        services.log.info(f"revision {revision.id} is where it was to be: {run.status}", **facts)
        return facts
    backups = "".join(f"\n  backup: {services.vault.uri(manifest.path)}" for manifest in manifests)
    raise NotAtTarget(
        f"revision {revision.id} ({revision.description}) is not where it was to be: run {run.id} is {run.status}.\n"
        f"  why: {run.error or 'no task left a reason; look for the first red task'}\n"
        f"  next: {_NEXT[run.status].format(run=run.id)}{backups}",
        **facts,
    )
