"""What one step's work is given besides the services: which run, which step, how far it got."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from lockstep.domain.operations.base import Operation
from lockstep.domain.progress import Cursor, Fence, KeyRange, Phase, Progress
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.engine.services import Log, Services, Settings


@dataclass(kw_only=True)
class StepContext:
    """The work of one shard of one step."""

    services: Services
    revision: Revision
    run: Run
    phase: Phase
    #: from 1; in the phase "undo" it is the upgrade's step that is taken back
    step: int
    fence: Fence
    within: KeyRange
    clock: Callable[[], float] = time.monotonic
    _renewed: float = field(default=float("-inf"), init=False)
    _told: float = field(default=float("-inf"), init=False)

    #: places of records that this step passes by: they are in quarantine
    excluding: tuple[Cursor, ...] = ()
    #: records that the next batch takes, at most
    limit: int = 1

    @property
    def settings(self) -> Settings:
        return self.services.settings

    @property
    def log(self) -> Log:
        return self.services.log

    @property
    def operation(self) -> Operation:
        """The operation that the step is about."""
        return self.revision.operations("downgrade" if self.phase == "downgrade" else "upgrade")[
            self.step - 1
        ]

    def alive(self) -> None:
        """Renew the run's lease, at most once in a third of its length; StaleEpoch if it was taken over."""
        now = self.clock()
        if now - self._renewed >= self.settings.lease_seconds / 3:
            self.services.ledger.heartbeat(self.run.id, self.run.epoch, self.settings.lease_seconds)
            self._renewed = now

    def tell(self, progress: Progress, doing: str) -> None:
        """Log progress, at most every five seconds and when done."""
        now = self.clock()
        if progress.done or now - self._told >= 5:
            self.log.info(
                f"{doing}: {progress.read} record(s) read, {progress.written} written"
                + (", done" if progress.done else ""),
                batches=progress.batches,
            )
            self._told = now
