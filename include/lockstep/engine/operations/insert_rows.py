"""Insert reference rows."""

from __future__ import annotations

from lockstep.domain.operations.insert_rows import InsertRows
from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext
from lockstep.engine.operations.handler import TableHandler
from lockstep.engine.ports import TableUnit


class InsertRowsHandler(TableHandler):
    def batch(
        self, context: StepContext, operation: InsertRows, unit: TableUnit, progress: Progress
    ) -> Progress:
        inserted = unit.insert_missing(operation.table, operation.rows)
        there = len(operation.rows) - inserted
        context.log.info(
            f"{operation.table}: {inserted} row(s) inserted, {there} there already and left alone"
        )
        return Progress(batches=1, read=len(operation.rows), written=inserted, inserted=inserted, done=True)
