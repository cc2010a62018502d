"""Keep the ledger's list of parked things true, and remove what is past its retention."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from lockstep.domain.errors import LockstepError, Refused
from lockstep.domain.parked import Parked
from lockstep.domain.resources import Database
from lockstep.domain.run import RevisionState
from lockstep.domain.status import UNSETTLED
from lockstep.engine.housekeeping.found import Found, size_text
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.services import Services

#: why a thing is gone that a run's end finds gone: runs take back what runs parked
TAKEN_BACK = "taken back"
#: why one is gone that housekeeping finds gone
VANISHED = "not there any more, and no run of Lockstep took it away"


def sync_parked(services: Services, database: Database, *, why: str) -> list[Parked]:
    """Make the ledger's list of what is parked in a database what its store shows, and return that."""
    known = {(one.conn_id, one.parked_as, one.run_id): one.parked_at for one in services.ledger.parked()}
    runs: dict[str, str | None] = {}
    began = datetime.now(timezone.utc)
    found = []
    for parked in services.store(database).parked():
        one = _told(services, parked, runs)
        at = known.get((one.conn_id, one.parked_as, one.run_id))
        # What was seen first counts: where objects go one by one a store knows the oldest that is still there, and
        # of what nobody filed it knows no time at all and says now.
        sure = at is not None and (one.run_id is not None or one.parked_at >= began)
        found.append(replace(one, parked_at=at) if at is not None and sure else one)
    services.ledger.sync_parked(database.conn_id, found, why=why)
    return found


def _told(services: Services, parked: Parked, runs: dict[str, str | None]) -> Parked:
    """Add whose a thing is: a store knows a run's id at best, and not whether this ledger knows that run."""
    run_id = parked.run_id
    if run_id is not None and run_id not in runs:
        try:
            runs[run_id] = services.ledger.run(run_id).revision
        except Refused:
            runs[run_id] = None
    revision = runs.get(run_id or "")
    return replace(
        parked,
        run_id=run_id if revision else None,
        revision=parked.revision if revision is None else revision,
    )


def remove_parked(
    services: Services,
    databases: Iterable[Database],
    *,
    days: float,
    by: str,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Found:
    """Remove what was parked more than `days` days ago (0: nothing ever is), where no run is half-way.

    A downgrade that comes later cannot give such a thing back from here: the run's backup has it still.
    """
    now = now or datetime.now(timezone.utc)
    done: list[str] = []
    problems: list[str] = []
    waits = _unsettled(services)
    count, size = 0, 0
    for database in databases:
        there = _there(services, database, dry_run=dry_run)
        count += len(there)
        size += sum(one.bytes or 0 for one in there)
        for one in list(there):
            late = bool(days) and now - one.parked_at > timedelta(days=days)
            told = _in_words(one, now)
            services.log.info(f"{'goes' if late and not waits else 'stays'}: {told}")
            if not late or waits:
                continue
            if dry_run:
                done.append(f"would remove {told}")
                continue
            there.remove(one)
            outcome = _remove(services, database, one, there, days=days, by=by)
            (done if outcome is None else problems).append(
                f"removed {told}" if outcome is None else f"{told} could not be removed: {outcome}"
            )
            if outcome is not None:
                there.append(one)
    if waits:
        services.log.warning(f"nothing parked is removed while {waits}: its way back may need it")
    for line in problems:
        services.log.error(line)
    return Found(
        done=tuple(done),
        problems=tuple(problems),
        facts={
            "parked": count,
            "bytes": size,
            "removed": 0 if dry_run else len(done),
            **({"waits_for": waits} if waits else {}),
        },
    )


def _unsettled(services: Services) -> str | None:
    """Return what is half-way on the chain, or None."""
    with services.ledger.unit() as unit:
        return _half_way(unit)


def _half_way(unit: LedgerUnit) -> str | None:
    held = unit.open_run()
    if held is not None:
        return f"run {held.id} is open"
    states: dict[str, RevisionState] = unit.revisions()
    for state in states.values():
        if state.status in UNSETTLED:
            return f"revision {state.id} is {state.status}"
    return None


def _there(services: Services, database: Database, *, dry_run: bool) -> list[Parked]:
    """Return what is parked in a database; the ledger's list follows, and what vanished is in the history."""
    before = [one for one in services.ledger.parked() if one.conn_id == database.conn_id]
    if dry_run:
        return services.store(database).parked()
    found = sync_parked(services, database, why=VANISHED)
    names = {one.parked_as for one in found}
    for one in before:
        if one.parked_as not in names:
            services.log.warning(f"{one.conn_id}: the parked {one.kind} {one.resource} is {VANISHED}")
            with services.ledger.unit() as unit:
                unit.note(one.run_id, "parked_gone", {**_facts(one), "why": VANISHED}, who="housekeeping")
    return found


def _remove(
    services: Services,
    database: Database,
    parked: Parked,
    left: list[Parked],
    *,
    days: float,
    by: str,
) -> str | None:
    """Remove one thing, then say so; return what was wrong, so that the others go all the same.

    No run begins meanwhile: the chain's lock is held for as long as it takes.
    """
    why = f"removed after {days:g} day(s)"
    with services.ledger.unit() as unit:
        waits = _half_way(unit)
        if waits:
            return f"{waits} by now. The next housekeeping tries again"
        try:
            services.store(database).remove_parked(parked)
        except LockstepError as problem:
            return str(problem)
        services.reached("parked removed")
        services.ledger.sync_parked(database.conn_id, left, why=why)
        services.reached("parked list saved")
        unit.note(parked.run_id, "parked_removed", {**_facts(parked), "why": why, "by": by}, who=by)
    return None


def _facts(parked: Parked) -> dict[str, object]:
    return {
        "conn_id": parked.conn_id,
        "kind": parked.kind,
        "resource": parked.resource,
        "parked_as": parked.parked_as,
        "parked_at": parked.parked_at.isoformat(),
        "bytes": parked.bytes,
        "records": parked.records,
    }


def _in_words(parked: Parked, now: datetime) -> str:
    days = (now - parked.parked_at) / timedelta(days=1)
    whose = f" by revision {parked.revision}" if parked.revision else ""
    return (
        f"the {parked.kind} {parked.resource} of {parked.conn_id}, parked{whose} {days:.1f} day(s) ago as "
        f"{parked.parked_as} ({size_text(parked.bytes)})"
    )
