"""Park a column."""

from __future__ import annotations

from lockstep.domain.operations.drop_column import DropColumn
from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext
from lockstep.engine.operations.handler import TableHandler
from lockstep.engine.ports import TableUnit


class DropColumnHandler(TableHandler):
    def batch(
        self, context: StepContext, operation: DropColumn, unit: TableUnit, progress: Progress
    ) -> Progress:
        unit.park_column(operation.table, operation.column)
        context.log.info(f"column {operation.column} of {operation.table} is parked, with its data")
        return Progress(batches=1, read=1, written=1, done=True)
