"""What of the databases a rehearsal copies: all that its revisions may read or write, as far as that is known."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lockstep.domain.expectations import Check
from lockstep.domain.operations.run_python import RunPython
from lockstep.domain.resources import Collection, Database, Everything, Postgres, Prefix, Touched
from lockstep.domain.revision import Revision


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One database, and what of it is copied."""

    database: Database
    #: among the databases of the rehearsal, from 0; names of scratch spaces and folders have it
    place: int
    resources: tuple[Touched, ...]

    @property
    def label(self) -> str:
        """Return a name that no other database of the rehearsal has."""
        return f"{self.place}_{self.database.conn_id}"


def wanted_of(revisions: Sequence[Revision], *, whole: bool) -> list[Wanted]:
    """Return what to copy, by database in the order of connection ids.

    `whole`: a PostgreSQL database is copied whole, since statements may read tables that nobody declares.
    """
    named: dict[Database, list[Touched]] = {}
    for resource in _named_by(revisions):
        named.setdefault(resource.database, []).append(resource)
    opaque = _opaque(revisions)
    found = []
    ordered = sorted(named, key=lambda database: (database.conn_id, str(database)))
    for place, database in enumerate(ordered):
        listed = tuple(dict.fromkeys(named[database]))
        everything = any(isinstance(one, Everything) for one in listed) or database in opaque
        if everything or (whole and isinstance(database, Postgres)):
            listed = (Everything(database),)
        found.append(Wanted(database=database, place=place, resources=listed))
    return found


def _named_by(revisions: Sequence[Revision]) -> Iterable[Touched]:
    for revision in revisions:
        for operation in revision.upgrade + revision.downgrade:
            yield from operation.writes
            yield from operation.reads
        for expectation in revision.expectations:
            yield from expectation.resources


def _opaque(revisions: Sequence[Revision]) -> set[Database]:
    """Return databases that functions with a driver's own handle may look around in."""
    return {
        touched.database
        for revision in revisions
        for touched in (
            *(
                t
                for op in revision.upgrade + revision.downgrade
                if isinstance(op, RunPython)
                for t in op.writes
            ),
            *(r for check in revision.expectations if isinstance(check, Check) for r in check.resources),
        )
        if not isinstance(touched, (Collection, Prefix))
    }


def touched_by(revisions: Sequence[Revision], database: Database) -> tuple[Touched, ...]:
    """Return what revisions may change in a database, Everything swallowing the rest."""
    found = tuple(dict.fromkeys(t for r in revisions for t in r.touched if t.database == database))
    everything = tuple(t for t in found if isinstance(t, Everything))
    return everything or found


def covers(held: Iterable[str], whole: bool, resource: Touched) -> bool:
    """Whether a backup of these resources, by slug, holds another; `whole`: it is of the whole database."""
    if whole:
        return True
    if isinstance(resource, Everything):
        return False
    if isinstance(resource, Prefix):
        return any(resource.slug.startswith(slug) for slug in held)
    return resource.slug in set(held)
