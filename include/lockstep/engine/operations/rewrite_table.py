"""Write a table anew and swap it in."""

from __future__ import annotations

from lockstep.domain.operations.rewrite_table import RewriteTable
from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext
from lockstep.engine.operations.handler import TableHandler
from lockstep.engine.ports import TableUnit


class RewriteTableHandler(TableHandler):
    def batch(
        self, context: StepContext, operation: RewriteTable, unit: TableUnit, progress: Progress
    ) -> Progress:
        context.log.info(f"filling a new {operation.table}; readers go on, writers wait")
        rows = unit.rewrite_table(operation.table, operation.set)
        context.log.info(f"{rows} row(s) of {operation.table} are written anew; the old table is parked")
        return Progress(batches=1, read=rows, written=rows, done=True)
