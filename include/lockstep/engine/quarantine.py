"""Which records a step passes by, and which ones a run tries again."""

from __future__ import annotations

from lockstep.domain.operations.base import Operation
from lockstep.domain.progress import Cursor, KeyRange, Phase
from lockstep.domain.quarantine import QuarantinedRecord
from lockstep.domain.resources import Everything
from lockstep.domain.run import Run
from lockstep.engine.services import Services

#: how many runs of a revision are looked through, latest first
TRIES = 1000


def left_by(services: Services, run_id: str, step: int) -> list[QuarantinedRecord]:
    """Return the records that a run's step left as they were."""
    return [one for one in services.ledger.quarantined(run_id) if one.step == step]


def tries_of(services: Services, applied_run: str) -> list[Run]:
    """Return the runs that tried again what an application of a revision left, latest first."""
    revision = services.ledger.run(applied_run).revision
    return [
        run
        for run in services.ledger.runs(revision, limit=TRIES)
        if run.source_run == applied_run and tries_again(run)
    ]


def waiting(services: Services, applied_run: str | None) -> list[QuarantinedRecord]:
    """Return what an application of a revision left and nobody has carried since: by itself or a later try."""
    if applied_run is None:
        return []
    runs = {applied_run, *(run.id for run in tries_of(services, applied_run))}
    return [one for one in services.ledger.quarantined() if one.run_id in runs]


def passed_by(
    services: Services, run: Run, phase: Phase, step: int, operation: Operation
) -> tuple[Cursor, ...]:
    """Return the places of records that a step does not touch, since the upgrade has not.

    Forward: those that this run's step has listed. Back: the same, or, where a downgrade was asked for, those of
    the resource that still wait.
    """
    if phase != "downgrade":
        return tuple(one.record.key for one in left_by(services, run.id, step))
    homes = {
        (resource.database.conn_id, resource.slug)
        for resource in operation.writes
        if not isinstance(resource, Everything)
    }
    listed = waiting(services, run.source_run)
    return tuple(dict.fromkeys(one.record.key for one in listed if (one.conn_id, one.resource) in homes))


def tries_again(run: Run) -> bool:
    """Whether a run is there for the records in quarantine alone."""
    return run.direction == "upgrade" and run.source_run is not None


def ranges_again(services: Services, run: Run, step: int) -> list[KeyRange]:
    """Return the one range of a step that tries again what was left; without records where nothing was."""
    places = [one.record.key for one in waiting(services, run.source_run) if one.step == step]
    keys = tuple(dict.fromkeys(places))
    label = f"{len(keys)} record(s) in quarantine"
    return [KeyRange(keys=keys, label=label, estimate=len(keys))]
