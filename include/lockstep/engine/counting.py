"""Count what is written to resources, so that later it can be said what was written since."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.readiness import Writes
from lockstep.domain.resources import Collection, Database, Everything, Mongo, Postgres, Table
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.engine.backup import touched_in
from lockstep.engine.services import Services

#: keys of a run's facts: rows ever written to each table that the revision touches, when its run was opened and when
#: it was recorded; documents of each collection at the latter
BEFORE = "writes_before"
AFTER = "writes_after"
DOCUMENTS = "documents_after"
#: and what it touches, as text
TOUCHED = "touched"


def note_before(services: Services, revision: Revision, run: Run) -> None:
    """Keep what the tables' counters say before a run changes anything."""
    _keep(services, run, {BEFORE: _each(services, revision, Postgres, _rows)})


def note_after(services: Services, revision: Revision, run: Run) -> None:
    """Keep what they say at its end, and how many documents there are."""
    _keep(
        services,
        run,
        {
            AFTER: _each(services, revision, Postgres, _rows),
            DOCUMENTS: _each(services, revision, Mongo, _documents),
            TOUCHED: [str(touched) for touched in revision.touched],
        },
    )


def rows_written(services: Services, touched: Table | Everything) -> dict[str, Writes]:
    """Return the counters of a table, or of every table of a database, by slug."""
    database = touched.database
    assert isinstance(database, Postgres)
    return dict(services.tables(database).writes(touched))


def counters(facts: Mapping[str, Any], key: str, conn_id: str, slug: str) -> Writes | None:
    """Return a counter as a run has kept it."""
    kept = ((facts.get(key) or {}).get(conn_id) or {}).get(slug)
    return None if kept is None else Writes(**kept)


def _each(
    services: Services,
    revision: Revision,
    kind: type,
    count: Callable[[Services, Revision, Any], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Count in every database of a kind; one that cannot be asked is said and left out."""
    found = {}
    for database in revision.databases:
        if not isinstance(database, kind):
            continue
        try:
            found[database.conn_id] = count(services, revision, database)
        except LockstepError as problem:
            services.log.warning(
                f"how much is written to {database.conn_id} is not counted, so that a downgrade will not know what was "
                f"written since: {problem}"
            )
    return found


def _rows(services: Services, revision: Revision, database: Database) -> dict[str, Any]:
    found: dict[str, Writes] = {}
    for touched in touched_in(revision, database):
        assert isinstance(touched, (Table, Everything))
        found |= rows_written(services, touched)
    return {slug: asdict(writes) for slug, writes in found.items()}


def _documents(services: Services, revision: Revision, database: Mongo) -> dict[str, Any]:
    store = services.documents(database)
    touched = touched_in(revision, database)
    return {
        one.slug: store.count(one) for one in touched if isinstance(one, Collection) and store.exists(one)
    }


def _keep(services: Services, run: Run, facts: Mapping[str, Any]) -> None:
    """Put facts into the run; a ledger that does not answer is the next step's to tell."""
    try:
        with services.ledger.unit() as unit:
            unit.change_run(run.id, facts=facts)
    except LockstepError as problem:
        services.log.warning(f"the ledger was not told how much is written: {problem}")
