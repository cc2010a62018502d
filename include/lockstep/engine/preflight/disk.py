"""What room the plan takes on each server, and whether there is so much, where the server says."""

from __future__ import annotations

from lockstep.domain.errors import LockstepError
from lockstep.domain.operations.rewrite_table import RewriteTable
from lockstep.domain.plan import Check, State
from lockstep.domain.resources import Bucket, Touched
from lockstep.engine.housekeeping.found import size_text
from lockstep.engine.preflight.place import Place
from lockstep.engine.services import Settings

NAME = "disk"


def disk(place: Place, settings: Settings) -> Check:
    """Compare what the plan takes with what is free."""
    if isinstance(place.database, Bucket):
        return place.found(NAME, State.OK, "A bucket does not say how much more it holds: not looked at.")
    space = place.looker.space()
    rewrites = _bytes(
        place, [t for op in place.operations() if isinstance(op, RewriteTable) for t in op.writes]
    )
    backed_up = _bytes(place, [t for revision, _ in place.steps for t in revision.touched])
    restores = settings.proof == "restore" or (
        settings.proof == "auto" and backed_up is not None and backed_up <= settings.proof_restore_bytes
    )
    proof = (backed_up or 0) if restores else 0
    takes = (rewrites or 0) + proof
    words = f"The database takes {size_text(space.used)}."
    if rewrites:
        words += f" Tables that are written anew take {size_text(rewrites)} more while both are there."
    if proof:
        words += f" A backup that is restored to prove it takes up to {size_text(proof)} for that time."
    if space.free is None:
        words += " The server does not say how much its disk has left."
        return place.found(NAME, State.WARNING if rewrites else State.OK, words)
    words += f" Its disk has {size_text(space.free)} left."
    return place.found(NAME, State.WARNING if takes > space.free else State.OK, words)


def _bytes(place: Place, touched: list[Touched]) -> int | None:
    """Return the bytes of what lies in this database, as far as it says."""
    ours = [one for one in dict.fromkeys(touched) if one.database == place.database]
    try:
        sizes = place.looker.sizes(ours)
    except LockstepError:
        return None
    known = [size.bytes for size in sizes.values()]
    return None if None in known else sum(size or 0 for size in known)
