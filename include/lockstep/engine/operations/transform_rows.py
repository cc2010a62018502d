"""Transform rows by a Python function, range by range."""

from __future__ import annotations

from dataclasses import replace

from lockstep.domain.operations.transform_rows import RowFunction, TransformRows
from lockstep.domain.progress import KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done
from lockstep.engine.functions import call_row
from lockstep.engine.operations.handler import TableHandler, in_sequence, table_store
from lockstep.engine.operations.update_rows import covered
from lockstep.engine.ports import TableUnit
from lockstep.engine.services import Services
from lockstep.engine.tables import TableBatch


class TransformRowsHandler(TableHandler):
    def plan(self, services: Services, operation: TransformRows, shards: int) -> list[KeyRange]:
        store = services.tables(operation.table.database)
        store.require_key(operation.table)
        return store.plan_ranges(
            operation.table, where=None, shards=shards, least=services.settings.records_per_shard
        )

    def batch(
        self, context: StepContext, operation: TransformRows, unit: TableUnit, progress: Progress
    ) -> Progress:
        journal = operation.reverse is None
        return _batch(
            context, operation, unit, progress, operation.function, operation.where, context.within, journal
        )

    def as_back_batch(self, done: Done) -> TableBatch:
        operation = done.operation
        assert isinstance(operation, TransformRows)
        reverse = operation.reverse
        if reverse is None:
            return super().as_back_batch(done)
        return in_sequence([_inverse(operation, reverse, within) for within in covered(done)])


def _inverse(operation: TransformRows, reverse: RowFunction, within: KeyRange) -> TableBatch:
    def batch(context: StepContext, unit: TableUnit, progress: Progress) -> Progress:
        return _batch(context, operation, unit, progress, reverse, None, within, journal=False)

    return batch


def _batch(
    context: StepContext,
    operation: TransformRows,
    unit: TableUnit,
    progress: Progress,
    function: RowFunction,
    where: str | None,
    within: KeyRange,
    journal: bool,
) -> Progress:
    table = operation.table
    key = table_store(context, operation).keys_of(table)
    page = unit.read_locked(
        table,
        columns=operation.columns,
        where=where,
        within=within,
        after=progress.cursor,
        limit=context.settings.batch_rows,
    )
    pairs = [(row, call_row(function, row, key, str(table))) for row in page.records]
    changed = [(before, after) for before, after in pairs if before != after]
    written = unit.write_rows(table, changed, journal=journal) if changed else 0
    return replace(
        progress,
        cursor=page.cursor if page.cursor is not None else progress.cursor,
        batches=progress.batches + 1,
        read=progress.read + len(page.records),
        written=progress.written + written,
        done=page.last,
    )
