"""Compare what a rehearsal had predicted with what the live run took."""

from __future__ import annotations

from lockstep.domain.errors import LockstepError
from lockstep.domain.rehearsal import Compared, Rehearsal, Verdict
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.quarantine import tries_again
from lockstep.engine.services import Services

#: the latest rehearsals that are looked through
LATEST = 100


def compare_with_prediction(services: Services, revision: Revision, run: Run) -> Compared | None:
    """Keep a run's seconds beside what the latest rehearsal of the same file had predicted; None where there is none.

    Called when the run is recorded. What it meets does not fail the run: it is said.
    """
    if run.direction != "upgrade" or run.ended_at is None or tries_again(run):
        return None
    if run.status not in (RunStatus.APPLIED, RunStatus.APPLIED_WITH_QUARANTINE):
        return None
    try:
        rehearsal = _latest(services, revision, run)
        if rehearsal is None:
            return None
        compared = Compared(
            rehearsal_id=rehearsal.id,
            run_id=run.id,
            revision=revision.id,
            predicted=rehearsal.predicted[revision.id],
            actual_seconds=(run.ended_at - run.started_at).total_seconds(),
        )
        services.ledger.save_comparison(compared)
    except LockstepError as problem:
        services.log.warning(f"what a rehearsal had predicted could not be compared: {problem}")
        return None
    predicted = compared.predicted
    services.log.info(
        f"took {compared.actual_seconds:.1f} s; rehearsal {rehearsal.id} had predicted {predicted.seconds:.1f} s "
        f"({predicted.low:.1f} to {predicted.high:.1f} s)"
    )
    return compared


def _latest(services: Services, revision: Revision, run: Run) -> Rehearsal | None:
    for rehearsal in services.ledger.rehearsals(LATEST):
        same = rehearsal.revisions.get(revision.id) == revision.checksum
        before = rehearsal.ended_at is not None and rehearsal.ended_at <= run.started_at
        if same and before and rehearsal.verdict is Verdict.GREEN and revision.id in rehearsal.predicted:
            return rehearsal
    return None
