"""Park a table."""

from __future__ import annotations

from lockstep.domain.operations.drop_table import DropTable
from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext
from lockstep.engine.operations.handler import TableHandler
from lockstep.engine.ports import TableUnit


class DropTableHandler(TableHandler):
    def batch(
        self, context: StepContext, operation: DropTable, unit: TableUnit, progress: Progress
    ) -> Progress:
        unit.park_table(operation.table)
        context.log.info(f"{operation.table} is parked, with its data")
        return Progress(batches=1, read=1, written=1, done=True)
