"""Clear away the leases of runs that have ended, and tell of runs that nobody works on any more."""

from __future__ import annotations

from collections.abc import Callable

from lockstep.domain.run import Caller, Run
from lockstep.domain.status import RunStatus
from lockstep.engine.housekeeping.found import Found
from lockstep.engine.housekeeping.listing import runs_of
from lockstep.engine.services import Services


def tidy_leases(services: Services, *, alive: Callable[[Caller], bool], dry_run: bool = False) -> Found:
    """Remove leases that ran out and whose runs have ended; report open runs that were abandoned.

    `alive` answers whether an Airflow run is still queued or running. No run's status is changed.
    """
    ended = services.ledger.ended_leases(remove=not dry_run)
    done = tuple(
        f"{'would remove' if dry_run else 'removed'} the lease of run {run_id}, which has ended"
        for run_id in ended
    )
    for line in done:
        services.log.info(line)
    problems = tuple(
        _abandoned(run, age)
        for run in runs_of(services)
        if run.status is RunStatus.OPEN
        and (age := services.ledger.lease_age(run.id)) is not None
        and age > 0
        and not alive(run.caller)
    )
    for line in problems:
        services.log.error(line)
    return Found(
        done=done,
        problems=problems,
        facts={"removed": 0 if dry_run else len(ended), "abandoned": len(problems)},
    )


def _abandoned(run: Run, age: float) -> str:
    holder = f"{run.caller.dag_id} / {run.caller.dag_run_id}"
    how = (
        f"trigger the DAG {run.caller.dag_id} again"
        if run.direction == "restore"
        else f"trigger the DAG of revision {run.revision!r} with direction {run.direction}"
    )
    paused = f" It was paused by {run.pause.by}." if run.pause else ""
    return (
        f"run {run.id} is open and nobody works on it: its lease ran out {age / 60:.0f} min ago, and {holder} is "
        f"over.{paused} It blocks every later run. To go on where it stopped, {how}: that takes it over."
    )
