"""What the tasks of a restore share: the run as the ledger has it, and its databases."""

from __future__ import annotations

from lockstep.domain.errors import Refused
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.restoring.plan import Work, work_of
from lockstep.engine.services import Services


def restoring(services: Services, run: Run) -> Run:
    """Return the run as the ledger has it now, its lease renewed; Refused for one that has ended.

    StaleEpoch where another DAG run has taken it over.
    """
    current = services.ledger.run(run.id)
    if current.status is not RunStatus.OPEN:
        raise Refused(
            f"restore {run.id} has ended as {current.status}: there is nothing left to do in it. Trigger the DAG "
            "restore again.",
            run=run.id,
        )
    services.ledger.heartbeat(run.id, run.epoch, services.settings.lease_seconds)
    return current


def works(services: Services, run: Run) -> list[Work]:
    """Return the databases of a restore, in the order in which they were opened."""
    stored = {one.manifest.path: one for one in services.ledger.stored_backups(run_id=run.facts["backup"])}
    found = []
    for target in run.facts["targets"]:
        if target["manifest"] not in stored:
            raise Refused(
                f"the backup {services.vault.uri(target['manifest'])} was removed while restore {run.id} was in "
                "progress. Choose another.",
                run=run.id,
            )
        found.append(work_of(target, stored[target["manifest"]].manifest))
    return found


def has_begun(run: Run) -> bool:
    """Whether a restore may have overwritten something."""
    return any(value for name, value in run.facts.items() if name.startswith("begun:"))


def labels(run: Run) -> list[str]:
    """Return what the tasks of the databases are called."""
    return [str(target["label"]) for target in run.facts["targets"]]
