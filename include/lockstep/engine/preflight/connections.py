"""Whether each server answers, and lets us in."""

from __future__ import annotations

from lockstep.domain.errors import LockstepError
from lockstep.domain.plan import Check, State
from lockstep.engine.preflight.place import Place

NAME = "connection"


def connection(place: Place) -> Check:
    """Ask a server for its name."""
    try:
        facts = place.looker.facts()
    except LockstepError as problem:
        return refused(place.name, problem)
    named = " ".join(facts[part] for part in ("server", "version") if facts.get(part))
    where = facts.get("database") or facts.get("bucket")
    return place.found(NAME, State.OK, f"{named} answers" + (f" ({where})" if where else "") + ".")


def refused(place: str, problem: LockstepError) -> Check:
    """Return what a server that does not answer comes to."""
    return Check(
        check=NAME, place=place, state=State.REFUSED, words=str(problem), transient=problem.transient
    )
