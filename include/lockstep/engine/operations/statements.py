"""Run a sequence of structural operations, each exactly once, in and outside transactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from lockstep.domain.locking import lock_timeout_of
from lockstep.domain.operations.base import Operation
from lockstep.domain.operations.drop_column import DropColumn
from lockstep.domain.operations.drop_table import DropTable
from lockstep.domain.operations.sql import Sql
from lockstep.domain.operations.sql_outside_transaction import SqlOutsideTransaction
from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext
from lockstep.engine.patience import Patience, patiently
from lockstep.engine.ports import TableStore, TableUnit


def run_statements(context: StepContext, store: TableStore, operations: Sequence[Operation]) -> Progress:
    """Run each operation in turn; the checkpoint counts those that are done."""
    progress = store.claim(context.fence)
    for place, operation in enumerate(operations):
        if place < progress.batches:
            continue
        context.alive()
        context.log.info(operation.describe())
        if isinstance(operation, SqlOutsideTransaction):
            for statement in operation.statements:
                run_outside(context, store, operation, statement)
        after = replace(
            progress,
            batches=place + 1,
            read=progress.read + 1,
            written=progress.written + 1,
            done=place + 1 == len(operations),
        )
        patiently(context, _patience(operation), partial(_once, context, store, operation, after))
        progress = after
        context.services.reached("batch committed")
    context.services.ledger.save(context.fence, progress)
    return progress


def run_outside(
    context: StepContext, store: TableStore, operation: SqlOutsideTransaction, statement: str
) -> None:
    """Run one statement in no transaction, as patiently as its operation says."""
    timeout = lock_timeout_of(statement, operation.lock_timeout)

    patiently(
        context,
        Patience(seconds=operation.patience_for(statement)),
        lambda: store.run_outside_transaction(statement, lock_timeout=timeout),
    )


def execute(unit: TableUnit, operation: Sql) -> int:
    """Run an operation's statements inside a unit, each with the lock timeout that its words ask for."""
    return sum(
        unit.execute([statement], lock_timeout=lock_timeout_of(statement, operation.lock_timeout))
        for statement in operation.statements
    )


def _once(context: StepContext, store: TableStore, operation: Operation, after: Progress) -> None:
    # Asked anew: the answer to a COMMIT may have been lost, and the operation is done then.
    if store.claim(context.fence).batches >= after.batches:
        return
    with store.unit(context.fence) as unit:
        if isinstance(operation, Sql):
            execute(unit, operation)
        elif isinstance(operation, DropTable):
            unit.park_table(operation.table)
        elif isinstance(operation, DropColumn):
            unit.park_column(operation.table, operation.column)
        unit.advance(after)


def _patience(operation: Operation) -> Patience:
    if isinstance(operation, Sql):
        return Patience(seconds=operation.patience, attempts=operation.attempts)
    return Patience()
