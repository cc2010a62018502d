"""Say what a downgrade of each applied revision would do now, and refuse one that would lose something."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from lockstep.domain.chain import Chain
from lockstep.domain.destroying import destroyed
from lockstep.domain.errors import Refused
from lockstep.domain.operations.base import Operation, Statements, WayBack
from lockstep.domain.operations.restore import Restore
from lockstep.domain.operations.run_python import RunPython
from lockstep.domain.readiness import KeptBackup, Readiness, StepDown, Written
from lockstep.domain.resources import Table
from lockstep.domain.revision import Revision
from lockstep.domain.run import RevisionState, Run
from lockstep.domain.status import Status
from lockstep.engine.coming_back import Looking
from lockstep.engine.services import Services
from lockstep.engine.since import RUNS, since_of, written_since

#: the parameter that accepts what a downgrade loses
LOSSY = "lossy"


def readiness(services: Services, chain: Chain, revisions: Collection[str] | None = None) -> list[Readiness]:
    """Return what a downgrade of each applied revision would do, newest first; of those named, or of all.

    Reads only. Objects are listed, documents counted, tables asked for their statistics.
    """
    states = services.ledger.revisions()
    runs = services.ledger.runs(limit=RUNS)
    return [
        _of(services, revision, states[revision.id], runs)
        for revision in reversed(chain.revisions)
        if revision.id in states
        and states[revision.id].status is Status.APPLIED
        and (revisions is None or revision.id in revisions)
    ]


def check_way_down(
    services: Services, chain: Chain, revisions: Collection[str], params: Mapping[str, Any]
) -> list[Readiness]:
    """Say in the log what a downgrade of revisions would do now; Refused where it would lose something for good.

    Those that are not applied are passed by: nothing of them is to be taken back, or it was begun already.
    """
    services.ledger.check()
    found = readiness(services, chain, revisions)
    tell(services, found)
    refuse_lossy(found, params)
    return found


def tell(services: Services, found: Sequence[Readiness]) -> None:
    """Write it into the log, a group for each revision."""
    for one in found:
        first, *rest = one.lines()
        with services.log.group(f"what a downgrade does now: {first}"):
            for line in rest:
                services.log.info(line)


def refuse_lossy(found: Sequence[Readiness], params: Mapping[str, Any]) -> None:
    """Raise Refused where a downgrade would lose something for good, unless the parameter accepts that."""
    lossy = [one for one in found if one.lossy]
    if not lossy or params.get(LOSSY):
        return
    told = "; ".join(
        f"revision {one.revision!r}, downgrade {step.number}: {step.loses} ({_counted(step.records)})"
        for one in lossy
        for step in one.losses
    )
    raise Refused(
        f"a downgrade now would lose data for good: {told}. Nothing was changed. Copy what you need, then trigger it "
        f"again with {LOSSY} = true, which accepts that.",
        revisions=[one.revision for one in lossy],
    )


def _counted(records: int | None) -> str:
    return "nobody knows how many records" if records is None else f"{records} record(s)"


def _of(services: Services, revision: Revision, state: RevisionState, runs: Sequence[Run]) -> Readiness:
    run = services.ledger.run(state.applied_run) if state.applied_run else None
    written: dict[Any, list[Written]] = {}
    if run is not None:
        since = since_of(run, runs)
        written = {touched: written_since(services, since, touched) for touched in revision.touched}
    looking = Looking(services, revision)
    steps = tuple(
        _step(services, looking, number, operation, written, state.applied_run)
        for number, operation in enumerate(revision.downgrade, 1)
    )
    return Readiness(
        revision=revision.id,
        description=revision.description,
        run_id=state.applied_run,
        applied_at=state.applied_at,
        steps=steps,
        written=tuple(dict.fromkeys(one for listed in written.values() for one in listed)),
        backups=_backups(services, state.applied_run),
    )


def _step(
    services: Services,
    looking: Looking,
    number: int,
    operation: Operation,
    written: Mapping[Any, Sequence[Written]],
    source: str | None,
) -> StepDown:
    what = operation.describe()
    if isinstance(operation, Restore):
        sources = looking.sources(operation, source)
        keeps = "; ".join(sources.found) or "nothing is to be taken back"
        if not sources.gone:
            return StepDown(number=number, what=what, keeps=f"{keeps}. What was changed since stays")
        loses = f"{operation.resource} as it was: {'; '.join(sources.gone)}"
        return StepDown(number=number, what=what, keeps=keeps, loses=loses, records=sources.records)
    if isinstance(operation, Statements):
        return _statements(services, number, operation, written)
    return StepDown(number=number, what=what, keeps=_keeps(operation))


def _keeps(operation: Operation) -> str:
    """Say where an operation of downgrade() leaves what it takes away."""
    if isinstance(operation, RunPython):
        return "a function of the revision's own: nobody sees from here what it takes away"
    if operation.way_back is WayBack.PARKED:
        return "parked with its data until housekeeping removes it"
    if operation.way_back is WayBack.JOURNAL:
        return "former values go to the journal of the downgrade's own run"
    return "no record is changed"


def _statements(
    services: Services, number: int, operation: Statements, written: Mapping[Any, Sequence[Written]]
) -> StepDown:
    """Look for words that take data away, and for data that was written since where they do."""
    what = operation.describe()
    taken = [str(one) for text in operation.statements for one in destroyed(text)]
    if not taken:
        return StepDown(
            number=number, what=what, keeps="SQL of the revision's own, which drops and deletes nothing"
        )
    there = [
        touched
        for touched in operation.writes
        if not isinstance(touched, Table) or services.tables(touched.database).exists(touched)
    ]
    counts = [one.records for touched in there for one in written.get(touched, [_UNKNOWN])]
    keeps = "no journal and no park keeps what it takes away"
    records = None if None in counts else sum(count or 0 for count in counts)
    if records == 0:
        return StepDown(number=number, what=what, keeps=f"{keeps}, and nothing was written there since")
    among = ", ".join(touched.slug for touched in there)
    return StepDown(
        number=number,
        what=what,
        keeps=keeps,
        loses=f"{', '.join(taken)}: what was written to it since, among the records of {among}",
        records=records,
    )


_UNKNOWN = Written(resource="", records=None)


def _backups(services: Services, run_id: str | None) -> tuple[KeptBackup, ...]:
    if run_id is None:
        return ()
    now = datetime.now(timezone.utc)
    return tuple(
        KeptBackup(
            conn_id=stored.manifest.conn_id,
            uri=services.vault.uri(stored.manifest.path),
            bytes=stored.manifest.size,
            age_seconds=(now - stored.manifest.taken_at).total_seconds(),
            proof=stored.proof,
            problem=stored.problem,
            removed_at=stored.removed_at,
        )
        for stored in services.ledger.stored_backups(run_id=run_id, removed=True)
    )
