"""Update rows by SQL expressions, range by range."""

from __future__ import annotations

from dataclasses import replace

from lockstep.domain.operations.update_rows import UpdateRows
from lockstep.domain.progress import KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.operations.by_key import ByKeyRange
from lockstep.engine.ports import TableUnit


class UpdateRowsHandler(ByKeyRange):
    def sweep(
        self,
        context: StepContext,
        operation: UpdateRows,
        unit: TableUnit,
        progress: Progress,
        within: KeyRange,
        *,
        inverse: bool,
    ) -> Progress:
        swept = unit.update_range(
            operation.table,
            operation.reverse if inverse and operation.reverse else operation.set,
            where=None if inverse else operation.where,
            within=within,
            after=progress.cursor,
            limit=context.limit,
            journal=operation.reverse is None,
            excluding=context.excluding,
        )
        return replace(
            progress,
            cursor=swept.cursor,
            batches=progress.batches + 1,
            read=progress.read + swept.read,
            written=progress.written + swept.written,
            done=swept.last,
        )
