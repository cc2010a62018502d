"""All checks of a plan, one database after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lockstep.domain.errors import LockstepError, Refused, Unavailable
from lockstep.domain.plan import Check, State
from lockstep.domain.resources import Database
from lockstep.engine.planning.sizes import Look
from lockstep.engine.preflight.connections import connection, refused
from lockstep.engine.preflight.disk import disk
from lockstep.engine.preflight.permissions import permissions, wishes_of
from lockstep.engine.preflight.place import Place, Step
from lockstep.engine.preflight.vault import vault
from lockstep.engine.preflight.versions import versions
from lockstep.engine.services import Services


def preflight(services: Services, steps: Sequence[Step], *, look: Look) -> list[Check]:
    """Look at what the steps of a plan lean on; nothing is written, and nothing raised for what is found."""
    listed = tuple(steps)
    databases = {database for revision, _ in listed for database in revision.databases}
    found = list(vault(services)) if listed else []
    for database in sorted(databases, key=lambda one: (one.conn_id, str(one))):
        found += _of(services, database, tuple(s for s in listed if database in s[0].databases), look)
    return found


def _of(services: Services, database: Database, steps: tuple[Step, ...], look: Look) -> Iterator[Check]:
    try:
        place = Place(
            database=database, looker=look(database), wishes=wishes_of(steps, database), steps=steps
        )
        answered = connection(place)
        yield answered
        if answered.state is State.REFUSED:
            return
        yield from versions(place)
        yield from permissions(place)
        yield disk(place, services.settings)
    except LockstepError as problem:
        yield refused(database.conn_id, problem)


def tell(services: Services, checks: Sequence[Check]) -> None:
    """Write the checks into the log: what is well in a group, what is not for all to see."""
    with services.log.group(f"checks before the start: {len(checks)}"):
        for check in checks:
            if check.state is State.OK:
                services.log.info(str(check))
    for check in checks:
        if check.state is State.WARNING:
            services.log.warning(str(check))


def refuse(checks: Sequence[Check]) -> None:
    """Raise Refused, naming all that forbids the plan; Unavailable where all of that may pass."""
    against = [check for check in checks if check.state is State.REFUSED]
    if not against:
        return
    kind = Unavailable if all(check.transient for check in against) else Refused
    listed = "".join(f"\n  * {check.place}, {check.check}: {check.words}" for check in against)
    raise kind(
        f"{len(against)} thing(s) stand against this plan, and nothing was started:{listed}\nMend them, then trigger "
        "this again.",
        places=[check.place for check in against],
    )
