"""What others than the revisions wrote to a resource since a revision was applied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from lockstep.domain.errors import LockstepError
from lockstep.domain.readiness import Written
from lockstep.domain.resources import Collection, Everything, Postgres, Prefix, Table, Touched
from lockstep.domain.run import Run
from lockstep.engine.counting import AFTER, BEFORE, DOCUMENTS, TOUCHED, counters, rows_written
from lockstep.engine.services import Services

#: runs that are looked through, latest first
RUNS = 10_000


@dataclass(frozen=True, kw_only=True)
class Since:
    """The run that applied the revision, and those that changed anything after it, in their order."""

    applied: Run
    later: Sequence[Run]
    moment: datetime


def since_of(applied: Run, runs: Sequence[Run]) -> Since:
    """Return what came, of all runs, after one that applied a revision; an open one has changed nothing that counts."""
    moment = applied.ended_at or applied.started_at
    later = [
        run
        for run in runs
        if run.started_at >= moment and run.backed_up and run.ended_at is not None and run.id != applied.id
    ]
    return Since(applied=applied, later=sorted(later, key=lambda run: run.started_at), moment=moment)


def written_since(services: Services, since: Since, touched: Touched) -> list[Written]:
    """Return what was written to a resource, or to each table of a database; unknown where it cannot be asked."""
    try:
        if isinstance(touched, Prefix):
            return [_objects(services, since, touched)]
        if isinstance(touched, Collection):
            return [_documents(services, since, touched)]
        return _rows(services, since, touched)
    except LockstepError as problem:
        return [Written(resource=str(touched), records=None, remark=str(problem))]


def _rows(services: Services, since: Since, touched: Table | Everything) -> list[Written]:
    """Add up what the counters of tables rose by between one run that touches them and the next."""
    database = touched.database
    assert isinstance(database, Postgres)
    now = rows_written(services, touched)
    slugs = [touched.slug] if isinstance(touched, Table) else sorted(now)
    found = []
    for slug in slugs:
        shown = f"table {slug} ({database.conn_id})"
        if slug in now:
            found.append(_gaps(since, database.conn_id, slug, now[slug].rows, now[slug].mark, shown))
        elif isinstance(touched, Table) and services.tables(database).exists(touched):
            found.append(
                Written(resource=shown, records=None, remark="its server does not count (track_counts).")
            )
    return found


def _gaps(since: Since, conn_id: str, slug: str, now: int, mark: str, shown: str) -> Written:
    unknown = Written(
        resource=shown,
        records=None,
        remark="the server's counters began anew since, or a run did not keep what they said.",
    )
    stood = counters(since.applied.facts, AFTER, conn_id, slug)
    total = 0
    for run in since.later:
        began = counters(run.facts, BEFORE, conn_id, slug)
        if began is None and BEFORE in run.facts:
            continue  # it does not touch the table, or made it
        ended = counters(run.facts, AFTER, conn_id, slug)
        if began is None or ended is None or stood is None or began.mark != stood.mark:
            return unknown
        total += began.rows - stood.rows
        stood = ended
    if stood is None or stood.mark != mark or now < stood.rows:
        return unknown
    return Written(resource=shown, records=total + now - stood.rows)


def _documents(services: Services, since: Since, collection: Collection) -> Written:
    """Compare how many there are with how many there were: only a lower limit of what was written."""
    shown = Written(resource=str(collection), records=None, exact=False)
    store = services.documents(collection.database)
    if not store.exists(collection):
        return replace(shown, records=0, remark="it is out of use now")
    last = [since.applied, *since.later]
    kept = [(run.facts.get(DOCUMENTS) or {}).get(collection.database.conn_id, {}) for run in last]
    then = next((counts[collection.slug] for counts in reversed(kept) if collection.slug in counts), None)
    if then is None:
        return replace(shown, remark="nobody counted its documents at the time.")
    return replace(shown, records=abs(store.count(collection) - int(then)))


def _objects(services: Services, since: Since, prefix: Prefix) -> Written:
    """Count those that were written after the last revision that touches them."""
    ours = [run.ended_at for run in since.later if run.ended_at and str(prefix) in run.facts.get(TOUCHED, ())]
    moment = max(ours, default=since.moment)
    counted, whole = services.objects(prefix.database).modified_since(prefix, moment)
    return Written(resource=str(prefix), records=counted, exact=whole)
