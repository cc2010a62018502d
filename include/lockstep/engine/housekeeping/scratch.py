"""Drop the scratch spaces that a run or a rehearsal left behind when it was killed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone

from lockstep.domain.errors import LockstepError
from lockstep.domain.rehearsal import Rehearsal
from lockstep.domain.resources import Database
from lockstep.domain.run import Caller
from lockstep.domain.scratch import LONGEST, SCRATCH, refuse_live
from lockstep.domain.status import RunStatus
from lockstep.engine.housekeeping.found import Found
from lockstep.engine.housekeeping.listing import rehearsals_of, runs_of
from lockstep.engine.housekeeping.needed import texts_of
from lockstep.engine.housekeeping.strangers import age_of
from lockstep.engine.services import Services, Store

#: days for which the scratch spaces of a rehearsal that was asked to keep them stay
KEPT_DAYS = 7
#: characters at the end of a name that was cut: an underscore and a digest, and the one that `rest` adds
DIGEST = 10


def drop_orphans(
    services: Services,
    databases: Iterable[Database],
    *,
    alive: Callable[[Caller], bool],
    after_days: float,
    by: str,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Found:
    """Drop scratch spaces, on the servers of these databases, whose run or rehearsal is over.

    One that the ledger does not know may be another installation's, on the same server: it is reported, and
    dropped once the time in its name is more than `after_days` days ago (0: never).
    """
    now = now or datetime.now(timezone.utc)
    owners = _owners(services, alive, now)
    done: list[str] = []
    problems: list[str] = []
    left: list[str] = []
    seen: set[tuple[str, str]] = set()
    for database in databases:
        # Not through services.store: that would make Lockstep's own schema in a database that has none, such
        # as the ledger's.
        store = services.stores(database)
        for name in store.scratches():
            # Two connections may lead to one server.
            if (database.kind, name) in seen:
                continue
            seen.add((database.kind, name))
            told = f"scratch space {refuse_live(name, ())} beside {database.conn_id}"
            why = _why_it_stays(name, owners, after_days, now)
            if why is not None:
                left.append(f"{told} stays: {why}")
                continue
            problem = None if dry_run else _drop(store, name)
            if problem is None:
                done.append(f"{'would drop' if dry_run else 'dropped'} {told}")
            else:
                problems.append(f"{told} could not be dropped: {problem}")
    for line in (*left, *done):
        services.log.info(line)
    for line in problems:
        services.log.error(line)
    if done and not dry_run:
        with services.ledger.unit() as unit:
            unit.note(None, "scratch_dropped", {"by": by, "dropped": done}, who=by)
    return Found(
        done=tuple(done),
        problems=tuple(problems),
        facts={"dropped": 0 if dry_run else len(done), "left": left[:20]},
    )


def _drop(store: Store, name: str) -> str | None:
    """Drop one; return what was wrong, so that the others are dropped all the same."""
    try:
        store.drop_scratch(name)
    except LockstepError as problem:
        if problem.transient:
            raise
        return str(problem)
    return None


def _owners(services: Services, alive: Callable[[Caller], bool], now: datetime) -> dict[str, str | None]:
    """Return the ids of runs and rehearsals, as they are in names → why their scratch spaces stay, None if not."""
    runs, rehearsals = runs_of(services), rehearsals_of(services)
    owners: dict[str, str | None] = dict.fromkeys(_plain(run.id) for run in runs)
    for rehearsal in rehearsals:
        owners[_plain(rehearsal.id)] = why = why_kept(rehearsal, alive, now)
        if why and rehearsal.verdict is None:
            owners |= dict.fromkeys(map(_plain, texts_of(rehearsal.params)), why)
    for run in runs:
        if run.status is not RunStatus.OPEN:
            continue
        named = {run.id, run.source_run or run.id, *texts_of(run.params), *texts_of(run.facts)}
        if run.direction == "restore":
            # The copy that it takes from is named after the run whose backup that is, whichever it was told.
            named |= {other.id for other in runs}
        owners |= dict.fromkeys(map(_plain, named), f"run {run.id} is open")
    return owners


def why_kept(rehearsal: Rehearsal, alive: Callable[[Caller], bool], now: datetime) -> str | None:
    """Return why what a rehearsal made is still wanted; None where it is over."""
    if rehearsal.verdict is None:
        return f"rehearsal {rehearsal.id} goes on" if alive(rehearsal.caller) else None
    ended = rehearsal.ended_at or now
    if rehearsal.params.get("keep") and now - ended < timedelta(days=KEPT_DAYS):
        return f"rehearsal {rehearsal.id} was asked to keep it, and ended less than {KEPT_DAYS} days ago"
    return None


def _why_it_stays(
    name: str, owners: Mapping[str, str | None], after_days: float, now: datetime
) -> str | None:
    found = _owners_of(name, owners)
    if found:
        return next((why for owner in found if (why := owners[owner])), None)
    age = age_of(name, now)
    if after_days and age is not None and age >= timedelta(days=after_days):
        return None
    return "the ledger knows neither run nor rehearsal of it: it may be another installation's"


def _plain(owner: str) -> str:
    """Return an id as `domain.scratch.scratch_name` writes it."""
    return re.sub(r"[^a-z0-9]+", "_", owner.lower()).strip("_")


def _owners_of(name: str, owners: Iterable[str]) -> list[str]:
    """Return the ids that a name holds: whole, or cut where a digest ends the name."""
    rest = f"_{name[len(SCRATCH) :]}_"
    found = [owner for owner in owners if owner and f"_{owner}_" in rest]
    if found or len(name) < LONGEST:
        return found
    end = rest[:-DIGEST]
    return [
        owner for owner in owners if any(end.endswith(f"_{owner[:at]}") for at in range(12, len(owner) + 1))
    ]
