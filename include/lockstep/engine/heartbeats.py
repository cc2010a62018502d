"""The lease, renewed from beside while one statement takes its time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lockstep.domain.errors import LockstepError
from lockstep.engine.context import StepContext


@contextmanager
def heartbeats(context: StepContext) -> Iterator[None]:
    """Renew the run's lease until the block ends: an index build is one statement, and may take hours.

    What the ledger answers is not listened to, since nothing can be done in the middle of a statement: a
    pause or a takeover is heard right after it.
    """
    run, seconds = context.run, context.settings.lease_seconds
    done = threading.Event()

    def beat() -> None:
        while not done.wait(seconds / 3):
            try:
                context.services.ledger.heartbeat(run.id, run.epoch, seconds)
            except LockstepError:
                continue

    thread = threading.Thread(target=beat, name="lockstep-heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
