"""The two drivers of PostgreSQL work: batch by batch, or all of it in one transaction.

A TableBatch does one batch inside a unit and says how far the shard then is. The unit commits the batch
and that progress together, so a crash repeats nothing and skips nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext
from lockstep.engine.ports import TableStore, TableUnit

#: (context, unit, progress so far) → progress after one more batch
TableBatch = Callable[[StepContext, TableUnit, Progress], Progress]


def run_batches(context: StepContext, store: TableStore, batch: TableBatch, doing: str) -> Progress:
    """Do batch after batch, each in a transaction of its own with its checkpoint, until done."""
    progress = store.claim(context.fence)
    while not progress.done:
        context.alive()
        with store.unit(context.fence) as unit:
            context.services.reached("batch opened")
            after = batch(context, unit, progress)
            unit.advance(after)
            context.services.reached("batch written")
        context.services.reached("batch committed")
        progress = after
        context.services.ledger.save(context.fence, progress)
        context.tell(progress, doing)
    context.services.ledger.save(context.fence, progress)
    return progress


def run_inside(context: StepContext, unit: TableUnit, batch: TableBatch) -> Progress:
    """Do batch after batch inside one unit, until done: for a revision that is one transaction."""
    progress = Progress()
    unit.step = context.step
    while not progress.done:
        context.alive()
        progress = batch(context, unit, progress)
    return progress
