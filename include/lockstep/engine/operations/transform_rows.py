"""Transform rows by a Python function, range by range."""

from __future__ import annotations

from dataclasses import replace

from lockstep.domain.operations.transform_rows import TransformRows
from lockstep.domain.progress import KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.functions import call_row
from lockstep.engine.operations.by_key import ByKeyRange
from lockstep.engine.ports import TableUnit


class TransformRowsHandler(ByKeyRange):
    def sweep(
        self,
        context: StepContext,
        operation: TransformRows,
        unit: TableUnit,
        progress: Progress,
        within: KeyRange,
        *,
        inverse: bool,
    ) -> Progress:
        table = operation.table
        function = operation.reverse if inverse and operation.reverse else operation.function
        # Asked of the unit: in an atomic revision nobody else sees the table yet.
        key = unit.keys_of(table)
        page = unit.read_locked(
            table,
            columns=operation.columns,
            where=None if inverse else operation.where,
            within=within,
            after=progress.cursor,
            limit=context.limit,
        )
        pairs = [(row, call_row(function, row, key, str(table))) for row in page.records]
        written = unit.write_rows(table, pairs, journal=operation.reverse is None) if pairs else 0
        return replace(
            progress,
            cursor=page.cursor if page.cursor is not None else progress.cursor,
            batches=progress.batches + 1,
            read=progress.read + len(page.records),
            written=progress.written + written,
            done=page.last,
        )
