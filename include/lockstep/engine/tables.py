"""The two drivers of PostgreSQL work: batch by batch, or all of it in one transaction.

A TableBatch does one batch inside a unit and says how far the shard then is. The unit commits the batch
and that progress together, so a crash repeats nothing and skips nothing, whatever size the batches have.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from lockstep.domain.errors import BadRecords, DataError, LockTimeout
from lockstep.domain.progress import Progress
from lockstep.domain.resources import Table
from lockstep.domain.sizing import Sizer
from lockstep.engine.bounds import bounds_of
from lockstep.engine.context import StepContext
from lockstep.engine.hunting import Hunt, NextRecord, culprit, is_for_a_record
from lockstep.engine.metering import batch_done
from lockstep.engine.patience import Patience, Trying
from lockstep.engine.ports import TableStore, TableUnit
from lockstep.engine.vacuuming import Vacuuming

#: (context, unit, progress so far) → progress after one more batch
TableBatch = Callable[[StepContext, TableUnit, Progress], Progress]

#: records of a first batch: little is lost if they are slow, and the next ones grow
START = 1000
#: records that one step takes at once inside a transaction of several steps: time does not matter there
INSIDE = 10_000
#: seconds between two words to the ledger; the checkpoint says more, and is the one to believe
SAVE_EVERY = 1.0


@dataclass(frozen=True, kw_only=True)
class Paged:
    """What is known of a verb that goes through a table's rows by key."""

    #: the table that is written, to vacuum it now and then
    table: Table
    #: names the next record, when a batch of one fails
    next_record: NextRecord
    #: records of a batch, at most, whatever the settings allow; None for no such bound
    most: int | None = None


def run_batches(
    context: StepContext, store: TableStore, batch: TableBatch, doing: str, paged: Paged | None = None
) -> Progress:
    """Do batch after batch, each in a transaction of its own with its checkpoint, until done."""
    progress = store.claim(context.fence)
    with Vacuuming(context, store, paged.table if paged else None) as vacuuming:
        return _Batches(context, store, batch, doing, paged, vacuuming).run(progress)


class _Batches:
    """The batches of one shard."""

    def __init__(
        self,
        context: StepContext,
        store: TableStore,
        batch: TableBatch,
        doing: str,
        paged: Paged | None,
        vacuuming: Vacuuming,
    ) -> None:
        self.context = context
        self.store = store
        self.batch = batch
        self.doing = doing
        self.paged = paged
        self.sizer = sizer_of(context, store, paged)
        self.hunt = Hunt()
        self.vacuuming = vacuuming
        self.saved = float("-inf")
        self.took = 0.0
        self.trying: Trying | None = None

    def run(self, progress: Progress) -> Progress:
        context = self.context
        while not progress.done:
            context.pace(self.took)
            context.limit = self.hunt.limit(self.sizer.size)
            began = context.clock()
            try:
                after = self.once(progress)
            except BadRecords as problem:
                context.leave(problem)
                continue
            except LockTimeout as problem:
                self.try_again(problem, began)
                continue
            except DataError as problem:
                self.split(progress, problem)
                continue
            self.took, self.trying = context.clock() - began, None
            context.services.reached("batch committed")
            batch_done(context, progress, after, self.took)
            self.learn(after.read - progress.read)
            progress = after
            self.say(progress)
            self.vacuuming.after(progress.written)
        context.services.ledger.save(context.fence, progress, rate=context.rate)
        return progress

    def once(self, progress: Progress) -> Progress:
        """Do one batch in one transaction."""
        with self.store.unit(self.context.fence) as unit:
            self.context.services.reached("batch opened")
            after = self.batch(self.context, unit, progress)
            after = replace(after, quarantined=self.context.quarantined)
            unit.advance(after)
            self.context.services.reached("batch written")
        return after

    def split(self, progress: Progress, problem: DataError) -> None:
        """Halve a batch that failed for a record's sake; name the record once it is alone."""
        if self.paged is None or not is_for_a_record(problem):
            raise problem
        tried = self.context.limit
        if not self.hunt.failed(tried):
            if self.hunt.splits == 0:
                self.context.log.warning(f"a batch of {tried} failed and is split: {problem}")
            return
        splits = self.hunt.found()
        self.context.leave(culprit(self.context, progress, problem, self.paged.next_record, splits))

    def learn(self, records: int) -> None:
        """Let the next batch have the size that this one's time speaks for."""
        if self.hunt.suspects is None:
            self.sizer.observe(records, self.took)
        else:
            self.hunt.passed(self.context.limit)

    def say(self, progress: Progress) -> None:
        context = self.context
        context.tell(progress, self.doing)
        now = context.clock()
        if now - self.saved >= SAVE_EVERY and not progress.done:
            context.services.ledger.save(context.fence, progress, rate=context.rate)
            self.saved = now

    def try_again(self, problem: LockTimeout, began: float) -> None:
        """Wait a moment for a lock, with nothing held, so that nobody queues behind this."""
        self.trying = self.trying or Trying(context=self.context, patience=Patience(), began=began)
        self.trying.failed(problem)
        self.trying.wait(problem)


def sizer_of(context: StepContext, store: TableStore, paged: Paged | None) -> Sizer:
    """Return what sizes the batches of rows."""
    most = context.settings.batch_rows
    if paged is None:
        return Sizer(bounds_of(context.settings, most), start=START)
    bounds = bounds_of(context.settings, min(most, paged.most or most))
    return Sizer(bounds, start=START, width=store.width(paged.table))


def run_inside(context: StepContext, unit: TableUnit, batch: TableBatch) -> Progress:
    """Do batch after batch inside one unit, until done: for a revision that is one transaction."""
    progress = Progress()
    unit.step = context.step
    context.limit = min(context.settings.batch_rows, INSIDE)
    while not progress.done:
        # Held ends the transaction too: it cannot wait for a person with its locks held.
        context.alive()
        progress = batch(context, unit, progress)
    return progress
