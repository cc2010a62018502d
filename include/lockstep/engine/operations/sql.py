"""Run SQL in a transaction, and again when a lock was not to be had."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from lockstep.domain.errors import Unavailable, UndoFailed
from lockstep.domain.operations.base import Operation
from lockstep.domain.operations.sql import Sql
from lockstep.domain.operations.sql_outside_transaction import SqlOutsideTransaction
from lockstep.domain.pairing import statements_back
from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done, done_steps
from lockstep.engine.operations.handler import TableHandler, table_store
from lockstep.engine.operations.statements import run_statements
from lockstep.engine.ports import TableUnit


class SqlHandler(TableHandler):
    def batch(self, context: StepContext, operation: Sql, unit: TableUnit, progress: Progress) -> Progress:
        for statement in operation.statements:
            context.log.info(" ".join(statement.split()))
        changed = unit.execute(operation.statements, lock_timeout=operation.lock_timeout)
        return Progress(batches=1, read=changed, written=changed, done=True)

    def forward(self, context: StepContext, operation: Sql) -> Progress:
        """Try as often as the operation says: each attempt waits for locks only so long, then gives way."""
        for attempt in range(1, operation.attempts + 1):
            try:
                return super().forward(context, operation)
            except Unavailable as problem:
                if attempt == operation.attempts:
                    raise
                pause = min(2.0**attempt, 30.0) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
                context.log.warning(
                    f"attempt {attempt} of {operation.attempts} gave way: {problem} Next in {pause:.1f} s."
                )
                time.sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")

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
    statements = operation.reverse or ()
    if isinstance(operation, Sql):
        return Sql(
            operation.at, statements, operation.touches, None, operation.lock_timeout, operation.attempts
        )
    return SqlOutsideTransaction(operation.at, statements, operation.touches, None, operation.lock_timeout)


def _committed(done: Done) -> bool:
    return any(shard.progress.done or shard.progress.batches for shard in done.shards)


def _nothing(context: StepContext) -> Progress:
    progress = Progress(done=True)
    context.services.ledger.save(context.fence, progress)
    return progress
