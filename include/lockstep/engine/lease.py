"""Keep a run's lease while one statement, or one batch, takes longer than the lease lasts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lockstep.domain.errors import LockstepError, StaleEpoch
from lockstep.domain.run import Run
from lockstep.engine.services import Services


@contextmanager
def kept(services: Services, run: Run) -> Iterator[None]:
    """Renew the lease from a thread, three times in its length.

    A process that is frozen does not renew it, and is taken over. What the ledger answers is not listened to,
    since nothing can be done in the middle of a statement: a pause or a takeover is heard right after it.
    """
    done = threading.Event()
    seconds = services.settings.lease_seconds

    def keep() -> None:
        while not done.wait(seconds / 3):
            try:
                services.ledger.heartbeat(run.id, run.epoch, seconds)
            except StaleEpoch:
                return
            except LockstepError as problem:
                services.log.warning(
                    f"the lease of run {run.id} could not be renewed, trying again: {problem}"
                )

    keeper = threading.Thread(target=keep, name="lockstep-lease", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
