"""Which runs somebody may still need: to take back, to resume or to restore what is there now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from lockstep.domain.rehearsal import Rehearsal
from lockstep.domain.run import RevisionState, Run
from lockstep.domain.status import UNSETTLED, RunStatus, Status

#: runs that may go on
_UNENDED = frozenset({RunStatus.OPEN, RunStatus.FAILED})


def needed_runs(
    revisions: Mapping[str, RevisionState], runs: Iterable[Run], rehearsals: Iterable[Rehearsal] = ()
) -> dict[str, str]:
    """Return run id → why its backups and its journal must stay, whatever their age.

    They are: the run that applied a revision which is applied now, and those that tried again what it had left;
    open and failed runs, with the run that they take back and every run that their parameters name; and what
    a rehearsal that goes on was given.
    """
    needed = _applied(revisions)
    applying = set(needed)
    for run in runs:
        if run.direction == "upgrade" and run.source_run in applying:
            needed.setdefault(run.id, f"it is a part of run {run.source_run}, which may be taken back")
        if run.status in _UNENDED:
            needed.setdefault(run.id, f"its run is {run.status}")
            for named in {run.source_run or run.id, *texts_of(run.params), *texts_of(run.facts)}:
                needed.setdefault(named, f"run {run.id}, which is {run.status}, works with it")
    for rehearsal in rehearsals:
        if rehearsal.verdict is None:
            for named in texts_of(rehearsal.params):
                needed.setdefault(named, f"rehearsal {rehearsal.id} works with it")
    return needed


def _applied(revisions: Mapping[str, RevisionState]) -> dict[str, str]:
    """Return the runs that applied what is applied, or that left it half-way."""
    found: dict[str, str] = {}
    for state in revisions.values():
        if state.status is Status.APPLIED or state.status in UNSETTLED:
            why = f"revision {state.id} is {state.status}, and taking it back may need it"
            found |= {run_id: why for run_id in (state.applied_run, state.last_run) if run_id}
    return found


def built_on(runs: Iterable[Run]) -> dict[str, frozenset[str]]:
    """Return run id → the runs that had applied what was applied when it began; `runs` latest first.

    Put back, the backup of a downgrade, of a restore or of another try of records in quarantine makes that
    applied again, and taking it back then takes those runs' journals. An upgrade's backup is of what was before.
    """
    applied: dict[str, str] = {}
    found: dict[str, frozenset[str]] = {}
    for run in reversed(list(runs)):
        if run.direction != "upgrade" or run.source_run is not None:
            found[run.id] = frozenset(applied.values()) | ({run.source_run} if run.source_run else set())
        if run.status in (RunStatus.APPLIED, RunStatus.APPLIED_WITH_QUARANTINE):
            applied[run.revision] = run.source_run or run.id
        elif run.status is RunStatus.DOWNGRADED:
            applied.pop(run.revision, None)
        elif run.direction == "repair":
            applied.pop(run.revision, None)
            if run.facts.get("applied_run"):
                applied[run.revision] = str(run.facts["applied_run"])
        elif run.status is RunStatus.RESTORED:
            for fate in run.facts.get("fates", ()):
                applied.pop(fate["revision"], None)
                if fate.get("applied_run"):
                    applied[fate["revision"]] = fate["applied_run"]
    return found


def texts_of(params: Mapping[str, object]) -> set[str]:
    """Return what parameters or facts hold as text: the ids of runs may be among it."""
    return {value for value in params.values() if isinstance(value, str) and value}
