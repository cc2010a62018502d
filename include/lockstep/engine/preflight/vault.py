"""Whether the vault, which every backup goes to, can be reached."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep.domain.errors import LockstepError
from lockstep.domain.plan import Check, State
from lockstep.engine.preflight.connections import refused
from lockstep.engine.services import Services

PLACE = "the vault"


def vault(services: Services) -> Iterator[Check]:
    """List a little of it; whether it takes a write is not tried."""
    try:
        next(iter(services.vault.paths("backups")), None)
    except LockstepError as problem:
        yield refused(PLACE, problem)
        return
    yield Check(
        check="connection", place=PLACE, state=State.OK, words=f"{services.vault.uri('')} can be listed."
    )
    yield Check(
        check="permissions",
        place=PLACE,
        state=State.OK,
        words="Not looked at: whether objects may be put, read and deleted; the backups, which come first, try it.",
    )
