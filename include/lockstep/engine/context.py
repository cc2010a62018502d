"""What one step's work is given besides the services: which run, which step, how far it got."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lockstep.domain.errors import BadRecords
from lockstep.domain.operations.base import Operation
from lockstep.domain.progress import Cursor, Fence, KeyRange, Phase, Progress
from lockstep.domain.quarantine import Quarantined
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.engine.pacing import Pacer
from lockstep.engine.services import Log, Services, Settings
from lockstep.engine.telling import Teller

#: seconds for which an answer to "is the shard still ours" holds
MOMENT = 0.1


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
    #: places of records that this step passes by: they are in quarantine
    excluding: tuple[Cursor, ...] = ()
    #: records that the next batch takes, at most
    limit: int = 1
    #: records of the whole step, about; None where nobody counted or sampled
    expected: int | None = None
    #: shards of the step that are not done yet, this one counted
    beside: int = 1
    #: records that this shard left as they are
    quarantined: int = 0
    _pacer: Pacer | None = field(default=None, init=False)
    _teller: Teller | None = field(default=None, init=False)
    _asked: float = field(default=float("-inf"), init=False)

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

    @property
    def pacer(self) -> Pacer:
        if self._pacer is None:
            self._pacer = Pacer(
                self.services, self.run, self.fence, self.revision.databases, clock=self.clock
            )
        return self._pacer

    def alive(self) -> None:
        """Renew the run's lease, about once a second; StaleEpoch if it was taken over, Held if it is paused."""
        self.pacer.stand()

    def still_ours(self, *, asked_before: bool = True) -> None:
        """Raise StaleEpoch where another worker has the shard; asked before a write that no transaction guards.

        Asked again only after a moment, so that it costs nothing in a loop; the time that a process is frozen
        counts, so whoever wakes up asks first. `asked_before`: whether an answer of a moment ago counts.
        """
        now = self.clock()
        if asked_before and now - self._asked < MOMENT:
            return
        self.services.ledger.refuse_stale(self.fence)
        # The time before the question: a process that was frozen over the answer asks once more.
        self._asked = now

    def pace(self, took: float = 0.0) -> None:
        """Wait until nothing speaks against another batch; Held where that takes long.

        `took`: seconds of the batch before; where a signal says slow, as many are waited.
        """
        self.pacer.wait(took)

    def tell(self, progress: Progress, doing: str) -> None:
        """Say how far the shard is in the log and to whoever shows it live, at a gentle pace."""
        if self._teller is None:
            self._teller = Teller(self.services, self.fence, self.within, clock=self.clock)
        self._teller.tell(progress, doing)

    @property
    def rate(self) -> float | None:
        """Records a second of late; None before that can be said."""
        return self._teller.rate if self._teller else None

    @property
    def quarantines(self) -> bool:
        """Whether a record that cannot be carried is left as it is, and listed."""
        return self.settings.bad_records == "quarantine" and self.phase == "upgrade"

    def leave(self, problem: BadRecords) -> None:
        """Leave records as they are: listed in the ledger at once, passed by from now on.

        They are listed before the batch commits that passes them by. After a crash between the two they stay
        left, so that no record can be both listed and changed. Raises `problem` under the policy `fail`, and
        QuarantineFull where that is more than the run's budget.
        """
        if not self.refuse(problem.resource, problem.records):
            raise problem

    def refuse(self, resource: str, records: Sequence[Quarantined]) -> int:
        """The same for records that the server did not take while others of the batch were written.

        Returns how many of them were not listed before.
        """
        if records and not self.quarantines:
            raise BadRecords(resource=resource, records=tuple(records))
        new = [record for record in records if record.key not in self.excluding]
        if not new:
            return 0
        target = self.operation.writes[0]
        self.services.ledger.quarantine(
            self.fence,
            target.database.conn_id,
            target.slug,
            new,
            budget=self.settings.quarantine_budget,
        )
        for record in new:
            self.log.warning(f"{resource}, record {record.shown} is left as it is: {record.error}")
        self.excluding = (*self.excluding, *(record.key for record in new))
        self.quarantined += len(new)
        return len(new)
