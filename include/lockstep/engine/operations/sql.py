"""Run SQL in a transaction, and again when a lock was not to be had."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lockstep.domain.errors import UndoFailed
from lockstep.domain.operations.base import Operation
from lockstep.domain.operations.sql import Sql
from lockstep.domain.operations.sql_outside_transaction import SqlOutsideTransaction
from lockstep.domain.pairing import statements_back
from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done, done_steps
from lockstep.engine.operations.handler import TableHandler, table_store
from lockstep.engine.operations.statements import execute, run_statements
from lockstep.engine.patience import Patience, patiently
from lockstep.engine.ports import TableStore, TableUnit


class SqlHandler(TableHandler):
    def batch(self, context: StepContext, operation: Sql, unit: TableUnit, progress: Progress) -> Progress:
        for statement in operation.statements:
            context.log.info(" ".join(statement.split()))
        changed = execute(unit, operation)
        return Progress(batches=1, read=changed, written=changed, done=True)

    def forward(self, context: StepContext, operation: Sql) -> Progress:
        """Try as long as the operation says: each attempt waits for locks only so long, then gives way."""
        store = table_store(context, operation)
        patience = Patience(seconds=operation.patience, attempts=operation.attempts)
        progress = patiently(context, patience, lambda: self._once(context, store, operation))
        context.services.ledger.save(context.fence, progress)
        context.tell(progress, operation.title)
        return progress

    def _once(self, context: StepContext, store: TableStore, operation: Sql) -> Progress:
        progress = store.claim(context.fence)
        if progress.done:
            return progress
        context.pace()
        with store.unit(context.fence) as unit:
            context.services.reached("batch opened")
            progress = self.batch(context, operation, unit, progress)
            unit.advance(progress)
            context.services.reached("batch written")
        context.services.reached("batch committed")
        return progress

    def back(self, context: StepContext, done: Done) -> Progress:
        return take_statements_back(context, done)


def take_statements_back(context: StepContext, done: Done) -> Progress:
    """Run what takes an opaque step back: its `reverse`, or the operations of downgrade() that mirror it.

    Raises UndoFailed where the revision has nothing for it.
    """
    operation = done.operation
    assert isinstance(operation, (Sql, SqlOutsideTransaction))
    if not _committed(done):
        context.log.info(f"{operation.title} had not committed: nothing to take back")
        return _nothing(context)
    if operation.reverse is not None:
        back: Sequence[Operation] = (_reversed(operation),)
    else:
        begun = done_steps(context.services, context.revision, done.run_id, strict=True)
        found = statements_back(
            context.revision, done.step, {other.step for other in begun if _committed(other)}
        )
        if found is None:
            raise UndoFailed(
                f"step {done.step} ({operation.title}) cannot be taken back: downgrade() has no operation on "
                f"{operation.database.conn_id} for it. Undo it by hand, or restore the backup of run {done.run_id}.",
                step=done.step,
            )
        back = found
    if not back:
        context.log.info(f"{operation.title} went with the way back of a later step")
        return _nothing(context)
    return run_statements(context, table_store(context, operation), back)


def _reversed(operation: Sql | SqlOutsideTransaction) -> Operation:
    return replace(operation, statements=operation.reverse or (), reverse=None)


def _committed(done: Done) -> bool:
    return any(shard.progress.done or shard.progress.batches for shard in done.shards)


def _nothing(context: StepContext) -> Progress:
    progress = Progress(done=True)
    context.services.ledger.save(context.fence, progress)
    return progress
