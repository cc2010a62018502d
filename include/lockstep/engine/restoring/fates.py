"""What the revisions are once a whole backup is back in place: where the chain stood when it was taken.

A backup before an upgrade is of a chain that ends before that revision; one before a downgrade, or before records in
quarantine were tried again, of a chain that ends with it; one before another restore, of the chain as that found it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lockstep.domain.chain import Chain
from lockstep.domain.operations.base import WayBack
from lockstep.domain.revision import Revision
from lockstep.domain.run import RevisionState, Run
from lockstep.domain.status import UNSETTLED, Status
from lockstep.engine.accepting import accepted_since
from lockstep.engine.quarantine import tries_again
from lockstep.engine.restoring.coverage import uncovered
from lockstep.engine.restoring.plan import Fate, Target
from lockstep.engine.services import Services

_SETTLED_BACK = (Status.PENDING, Status.ROLLED_BACK)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What becomes of the revisions, and what forbids it."""

    fates: tuple[Fate, ...] = ()
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    #: what the ledger would wrongly say if it were left as it is
    misfits: tuple[str, ...] = ()


def after_restore(
    services: Services,
    chain: Chain,
    run: Run,
    states: Mapping[str, RevisionState],
    targets: Sequence[Target],
) -> Wanted:
    """Return what becomes of each revision once the whole backup of `run` is back in place."""
    then = _applied_then(chain, run, states)
    if isinstance(then, str):
        return Wanted(problems=(then,), misfits=("the ledger may not fit: " + then,))
    if then is None:
        return Wanted()
    fates: list[Fate] = []
    problems = _without_files(chain, states)
    remarks: list[str] = []
    misfits: list[str] = []
    for revision in chain.revisions:
        state = states[revision.id]
        wants = revision.id in then
        if state.status is Status.APPLIED if wants else state.status in _SETTLED_BACK:
            continue
        left = uncovered(revision, targets)
        if left:
            problems.append(_not_covered(chain, revision, state, left))
        if wants:
            fate, problem = _applied_again(services, revision, state, run)
            problems += [problem] if problem else []
            remarks += _lost_parks(revision)
        else:
            fate = Fate(revision=revision.id, now=state.status, becomes=Status.ROLLED_BACK)
        fates.append(fate)
        misfits.append(
            f"the ledger says that revision {revision.id} is {state.status}, where its data is {fate.becomes}"
        )
    return Wanted(
        fates=tuple(fates), problems=tuple(problems), remarks=tuple(remarks), misfits=tuple(misfits)
    )


def _applied_then(chain: Chain, run: Run, states: Mapping[str, RevisionState]) -> frozenset[str] | str | None:
    """Return which revisions were applied when the backup was taken; why that is unknown; None: just as now."""
    if run.direction == "restore":
        return _before_restore(run, states)
    ids = [revision.id for revision in chain.revisions]
    if run.revision not in ids:
        return (
            f"the file of revision {run.revision!r} is gone or cannot be used, so that nobody knows where in the "
            "chain the backup belongs. Bring it back, or set reconcile = false."
        )
    stood = run.direction == "downgrade" or tries_again(run)
    return frozenset(ids[: ids.index(run.revision) + stood])


def _before_restore(run: Run, states: Mapping[str, RevisionState]) -> frozenset[str] | str | None:
    statuses = {name: Status(status) for name, status in run.facts.get("statuses", {}).items()}
    if all(_alike(states[name].status, status) for name, status in statuses.items() if name in states):
        return None
    if any(status in UNSETTLED for status in statuses.values()):
        return (
            f"when restore {run.id} began, a run was half-way or failed, which the ledger cannot say again. Set "
            "reconcile = false, and settle the revisions by their own DAGs."
        )
    return frozenset(name for name, status in statuses.items() if status is Status.APPLIED)


def _alike(now: Status, then: Status) -> bool:
    both = (now, then)
    return now is then or all(one in UNSETTLED for one in both) or all(one in _SETTLED_BACK for one in both)


def _without_files(chain: Chain, states: Mapping[str, RevisionState]) -> list[str]:
    known = {revision.id for revision in chain.revisions}
    return [
        f"revision {state.id!r} is {state.status}, and its file is gone or cannot be used, so that nobody knows what "
        "it touches. Bring it back, or set reconcile = false."
        for state in states.values()
        if state.id not in known and state.status not in _SETTLED_BACK
    ]


def _not_covered(chain: Chain, revision: Revision, state: RevisionState, left: Sequence[str]) -> str:
    """Say why a revision forbids the restore, and what to do instead."""
    touches = f"touches {', '.join(left)} too, which this backup does not put back"
    keep = "or set reconcile = false, which leaves the ledger as it is"
    if state.status in UNSETTLED:
        return (
            f"revision {revision.id} is {state.status} and {touches}. Put the backup of its run back first (backup = "
            f"{state.last_run!r}), {keep}."
        )
    if state.status is Status.APPLIED:
        below = [one.id for one in chain.revisions[: chain.revisions.index(revision)]]
        target = below[-1] if below else "base"
        return (
            f"revision {revision.id} stands on what is put back, and {touches}. Trigger rollback with target "
            f"{target!r} first, put the backup of its own run back first (backup = {state.applied_run!r}), {keep}."
        )
    return (
        f"revision {revision.id} was applied when the backup was taken, is {state.status} now and {touches}. "
        f"Trigger migrate with target {revision.id!r} first, {keep}."
    )


def _applied_again(
    services: Services, revision: Revision, state: RevisionState, run: Run
) -> tuple[Fate, str | None]:
    """Return the fate of a revision that becomes applied, and why it cannot be."""
    applied_run = _applied_by(services, revision.id, run)
    fate = Fate(revision=revision.id, now=state.status, becomes=Status.APPLIED, applied_run=applied_run)
    if applied_run is None:
        return fate, (
            f"the ledger does not know which run had applied revision {revision.id} when the backup was taken. Set "
            "reconcile = false, or migrate afterwards."
        )
    checksum = services.ledger.run(applied_run).checksum
    if revision.checksum not in accepted_since(services, revision.id, checksum):
        return fate, (
            f"revision {revision.id} ({revision.file}) was edited since it was applied: its checksum was "
            f"{checksum[:12]} and is {revision.checksum[:12]}. Put the file back as it was, or set reconcile = false."
        )
    return fate, None


def _applied_by(services: Services, revision: str, run: Run) -> str | None:
    """Return the run that had applied a revision when `run` began, on the ledger's clock."""
    if revision == run.revision and run.source_run is not None:
        return run.source_run
    found = None
    for entry in services.ledger.history(revision):
        applied = entry.get("to_status") == Status.APPLIED.value
        if applied and datetime.fromisoformat(str(entry["at"])) <= run.started_at:
            found = str(entry["run_id"])
    if found is None:
        return None
    by = services.ledger.run(found)
    if by.direction != "restore":
        return by.source_run or by.id
    told: dict[str, str] = {fate["revision"]: fate["applied_run"] for fate in by.facts.get("fates", ())}
    return told.get(revision)


def _lost_parks(revision: Revision) -> list[str]:
    """Name what a downgrade could not give back, since the one before has taken it out of its park."""
    lost = [
        operation.title
        for operation in revision.upgrade
        if operation.way_back is WayBack.PARKED and operation.verb != "drop_column"
    ]
    if not lost:
        return []
    return [
        f"what {', '.join(lost)} had parked is not parked any more: another downgrade of {revision.id} would not find "
        "it. Put an earlier backup back instead of that."
    ]
