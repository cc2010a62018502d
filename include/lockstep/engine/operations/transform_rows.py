"""Transform rows by a Python function, range by range.

A batch that is a transaction of its own takes rows that were read ahead without locks, and writes those that
still are what was read; the others it reads again, locked. Inside one transaction rows are read locked.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from lockstep.domain.operations.transform_rows import RowFunction, TransformRows
from lockstep.domain.progress import Cursor, KeyRange, Page, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done
from lockstep.engine.functions import call_rows
from lockstep.engine.operations.by_key import ByKeyRange, covered
from lockstep.engine.operations.handler import in_sequence, table_store
from lockstep.engine.operations.rows_ahead import RowsAhead, Transforming, refuse
from lockstep.engine.ports import TableStore, TableUnit
from lockstep.engine.tables import Paged, TableBatch, run_batches

#: rows that are held as Python values at a time, twice: more cost memory, and make no difference in speed
PAGE = 20_000


class TransformRowsHandler(ByKeyRange):
    def paged(self, context: StepContext, operation: TransformRows) -> Paged:
        return replace(super().paged(context, operation), most=PAGE)

    def forward(self, context: StepContext, operation: TransformRows) -> Progress:
        store = table_store(context, operation)
        work = _work(operation, context.within, inverse=False)
        with RowsAhead(store, work) as ahead:
            batch = _ahead_batch(ahead, operation, work)
            return run_batches(context, store, batch, operation.title, self.paged(context, operation))

    def back(self, context: StepContext, done: Done) -> Progress:
        operation = done.operation
        assert isinstance(operation, TransformRows)
        if operation.reverse is None:
            return super().back(context, done)
        store = table_store(context, operation)
        with ExitStack() as opened:
            batches = [_back_batch(opened, store, operation, within) for within in covered(done)]
            return run_batches(context, store, in_sequence(batches), f"taking back {operation.title}")

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
        work = _work(operation, within, inverse=inverse)
        page, written = _locked(context, unit, work, operation, progress.cursor, context.limit)
        return _advanced(progress, page.cursor, len(page.records), written, page.last)


def _work(operation: TransformRows, within: KeyRange, *, inverse: bool) -> Transforming:
    function: RowFunction = operation.function
    if inverse and operation.reverse is not None:
        function = operation.reverse
    return Transforming(
        table=operation.table,
        function=function,
        columns=operation.columns,
        where=None if inverse else operation.where,
        within=within,
    )


def _back_batch(
    opened: ExitStack, store: TableStore, operation: TransformRows, within: KeyRange
) -> TableBatch:
    work = _work(operation, within, inverse=True)
    return _ahead_batch(opened.enter_context(RowsAhead(store, work)), operation, work)


def _ahead_batch(ahead: RowsAhead, operation: TransformRows, work: Transforming) -> TableBatch:
    def batch(context: StepContext, unit: TableUnit, progress: Progress) -> Progress:
        page = ahead.take(context, progress.cursor, unit)
        refuse(page.failed, unit, work.table)
        if not page.last:
            ahead.start(context, page.cursor)
        written, changed = unit.write_packed(work.table, page.packed, journal=operation.reverse is None)
        if changed:
            these = replace(work, within=KeyRange(keys=changed))
            written += _locked(context, unit, these, operation, None, len(changed))[1]
        return _advanced(progress, page.cursor, page.read, written, page.last)

    return batch


def _locked(
    context: StepContext,
    unit: TableUnit,
    work: Transforming,
    operation: TransformRows,
    after: Cursor | None,
    limit: int,
) -> tuple[Page, int]:
    """Transform the next rows, locked; return what was read, and how many rows were written."""
    table = work.table
    page = unit.read_locked(
        table,
        columns=work.columns,
        where=work.where,
        within=work.within,
        after=after,
        limit=limit,
        excluding=context.excluding,
    )
    # Asked of the unit: in an atomic revision nobody else sees the table yet.
    pairs, failed = call_rows(work.function, page.records, unit.keys_of(table), str(table))
    refuse(failed, unit, table)
    written = unit.write_rows(table, pairs, journal=operation.reverse is None) if pairs else 0
    return page, written


def _advanced(progress: Progress, cursor: Cursor | None, read: int, written: int, last: bool) -> Progress:
    return replace(
        progress,
        cursor=cursor if cursor is not None else progress.cursor,
        batches=progress.batches + 1,
        read=progress.read + read,
        written=progress.written + written,
        done=last,
    )
