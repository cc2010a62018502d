"""Run a sequence of structural operations, each exactly once, in and outside transactions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lockstep.domain.operations.base import Operation
from lockstep.domain.operations.drop_column import DropColumn
from lockstep.domain.operations.drop_table import DropTable
from lockstep.domain.operations.sql import Sql
from lockstep.domain.operations.sql_outside_transaction import SqlOutsideTransaction
from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext
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
                store.run_outside_transaction(statement, lock_timeout=operation.lock_timeout)
        with store.unit(context.fence) as unit:
            _inside(unit, operation)
            progress = replace(
                progress,
                batches=place + 1,
                read=progress.read + 1,
                written=progress.written + 1,
                done=place + 1 == len(operations),
            )
            unit.advance(progress)
        context.services.reached("batch committed")
    context.services.ledger.save(context.fence, progress)
    return progress


def _inside(unit: TableUnit, operation: Operation) -> None:
    if isinstance(operation, Sql):
        unit.execute(operation.statements, lock_timeout=operation.lock_timeout)
    elif isinstance(operation, DropTable):
        unit.park_table(operation.table)
    elif isinstance(operation, DropColumn):
        unit.park_column(operation.table, operation.column)
