"""Begin a rehearsal: which revisions it tries, from which data, and whether that can be said now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from lockstep.domain.chain import Chain
from lockstep.domain.errors import Refused
from lockstep.domain.progress import Manifest
from lockstep.domain.rehearsal import FRESH, Asked, Rehearsal, new_rehearsal_id
from lockstep.domain.resources import Everything
from lockstep.domain.revision import Revision
from lockstep.domain.run import Caller, RevisionState, Run
from lockstep.domain.status import UNSETTLED, Status
from lockstep.engine.opening import refuse_edited
from lockstep.engine.rehearsing.wanted import Wanted, covers, wanted_of
from lockstep.engine.services import Services


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a rehearsal tries, and on what."""

    rehearsal: Rehearsal
    asked: Asked
    #: in the order of the chain; the last is the target
    revisions: tuple[Revision, ...]
    #: revisions that the data has behind it
    applied: tuple[Revision, ...]
    wanted: tuple[Wanted, ...]


def open_rehearsal(
    services: Services,
    chain: Chain,
    *,
    target: str,
    asked: Asked,
    caller: Caller,
    params: Mapping[str, Any],
) -> Plan:
    """Write down that a rehearsal begins, or find the one that this Airflow run began.

    Refused, with nothing made, where the chain is at the target already, a run is under way or unsettled, or the
    backup that was named does not hold what the revisions need. Nothing here reads a live database.
    """
    services.ledger.check()
    known = services.ledger.rehearsal_of(caller.dag_id, caller.dag_run_id)
    if known is not None and known.verdict is None:
        return plan_of(services, chain, known, asked)
    revisions, applied = _pending(services, chain, target, asked)
    wanted = wanted_of(revisions, whole=asked.whole)
    if asked.source != FRESH:
        _refuse_uncovered(services, asked.source, revisions, applied, wanted)
    now = datetime.now(timezone.utc)
    rehearsal = Rehearsal(
        id=new_rehearsal_id(now),
        target=revisions[-1].id,
        caller=caller,
        started_at=now,
        revisions={revision.id: revision.checksum for revision in revisions},
        params=dict(params),
    )
    services.ledger.add_rehearsal(rehearsal)
    services.log.info(
        f"rehearsal {rehearsal.id}: {', '.join(r.id for r in revisions)} on a copy of "
        f"{', '.join(one.database.conn_id for one in wanted)}",
        by=caller.by,
    )
    return Plan(
        rehearsal=rehearsal,
        asked=asked,
        revisions=tuple(revisions),
        applied=tuple(applied),
        wanted=tuple(wanted),
    )


def look_ahead(
    services: Services, chain: Chain, *, target: str, asked: Asked
) -> tuple[Sequence[Revision], Sequence[Wanted]]:
    """Return which revisions a rehearsal would try, and what it would copy. Reads only; Refused as when one begins."""
    services.ledger.check()
    revisions, applied = _pending(services, chain, target, asked)
    wanted = wanted_of(revisions, whole=asked.whole)
    if asked.source != FRESH:
        _refuse_uncovered(services, asked.source, revisions, applied, wanted)
    return revisions, wanted


def current_rehearsal(services: Services, dag_id: str, dag_run_id: str) -> Rehearsal:
    """Return the rehearsal that an Airflow run works for; Refused where there is none."""
    found = services.ledger.rehearsal_of(dag_id, dag_run_id)
    if found is None:
        raise Refused(
            f"no rehearsal was begun for {dag_id} / {dag_run_id}: the task `open` did not end well. Look at its log.",
            dag_id=dag_id,
            dag_run_id=dag_run_id,
        )
    return found


def plan_of(services: Services, chain: Chain, rehearsal: Rehearsal, asked: Asked) -> Plan:
    """Return the plan of a rehearsal that has begun; Refused where a file was edited since."""
    revisions = [chain[revision_id] for revision_id in rehearsal.revisions]
    revisions.sort(key=chain.revisions.index)
    for revision in revisions:
        if revision.checksum != rehearsal.revisions[revision.id]:
            raise Refused(
                f"revision {revision.id!r} ({revision.file}) was edited while rehearsal {rehearsal.id} went on. "
                "Trigger the DAG rehearse again, to try what it says now.",
                revision=revision.id,
            )
    first = chain.revisions.index(revisions[0])
    return Plan(
        rehearsal=rehearsal,
        asked=asked,
        revisions=tuple(revisions),
        applied=chain.revisions[:first],
        wanted=tuple(wanted_of(revisions, whole=asked.whole)),
    )


def _pending(
    services: Services, chain: Chain, target: str, asked: Asked
) -> tuple[list[Revision], list[Revision]]:
    """Return the revisions to try and those before them."""
    with services.ledger.unit() as unit:
        states, held = unit.revisions(), unit.open_run()
    _refuse_unsettled(states, held)
    end = chain.index(target)
    if asked.source != FRESH:
        start = chain.revisions.index(_first_of(services, chain, asked.source))
    else:
        refuse_edited(chain, states)
        standing = {state.id for state in states.values() if state.status is Status.APPLIED}
        start = sum(revision.id in standing for revision in chain.revisions)
    if start >= end:
        raise Refused(
            f"there is nothing to rehearse: the data has {target!r} behind it already. Name a later target, or as "
            "`source` the backup of an earlier run.",
            target=target,
        )
    return list(chain.revisions[start:end]), list(chain.revisions[:start])


def _refuse_unsettled(states: Mapping[str, RevisionState], held: Run | None) -> None:
    if held is not None:
        raise Refused(
            f"run {held.id} ({held.direction} of {held.revision!r}) is open: the live data is half-way, and what is "
            "tried on a copy of it says nothing. Let it end; then trigger the DAG rehearse again.",
            run=held.id,
        )
    unsettled = next((state for state in states.values() if state.status in UNSETTLED), None)
    if unsettled is not None:
        raise Refused(
            f"revision {unsettled.id!r} is {unsettled.status}: the live data is half-way, and what is tried on a copy "
            "of it says nothing. Let its run end, or settle it; then trigger the DAG rehearse again.",
            revision=unsettled.id,
        )


def _first_of(services: Services, chain: Chain, run_id: str) -> Revision:
    run = services.ledger.run(run_id)
    if run.direction != "upgrade":
        raise Refused(
            f"run {run_id} is a {run.direction}, and its backup holds the data with revision {run.revision!r} applied "
            "or in part. Name the run of an upgrade: its backup holds the data before it.",
            run=run_id,
        )
    return chain[run.revision]


def manifests_of(services: Services, run_id: str) -> dict[str, Manifest]:
    """Return the proven backups of a run, by connection; Refused where there is none or a file is gone."""
    stored = services.ledger.stored_backups(run_id=run_id)
    for one in stored:
        if one.problem:
            raise Refused(
                f"the backup of {one.manifest.conn_id} by run {run_id} cannot be read: {one.problem}. Name another.",
                run=run_id,
            )
    found = {one.manifest.conn_id: one.manifest for one in stored if one.proof is not None}
    if not found:
        raise Refused(
            f"run {run_id} has no proven backup in the vault. Name another run, or take source = {FRESH!r}.",
            run=run_id,
        )
    return found


def _refuse_uncovered(
    services: Services,
    run_id: str,
    revisions: Sequence[Revision],
    applied: Sequence[Revision],
    wanted: Sequence[Wanted],
) -> None:
    """Raise Refused where the named backup lacks what the revisions write or read by declaration."""
    manifests = manifests_of(services, run_id)
    first = revisions[0]
    missing = []
    for one in wanted_of(revisions, whole=False):
        manifest = manifests.get(one.database.conn_id)
        whole = any(isinstance(t, Everything) and t.database == one.database for t in first.touched)
        held = manifest.fingerprints if manifest else {}
        missing += [str(r) for r in one.resources if not manifest or not covers(held, whole, r)]
    if missing:
        raise Refused(
            f"the backup of run {run_id} does not hold {', '.join(missing)}, which "
            f"{', '.join(r.id for r in revisions)} need. Name an earlier target, or take source = {FRESH!r}.",
            run=run_id,
            missing=missing,
        )
