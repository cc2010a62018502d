"""Update rows by SQL expressions, range by range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lockstep.domain.operations.update_rows import UpdateRows
from lockstep.domain.progress import KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done
from lockstep.engine.operations.handler import TableHandler, in_sequence
from lockstep.engine.ports import TableUnit
from lockstep.engine.services import Services
from lockstep.engine.tables import TableBatch


class UpdateRowsHandler(TableHandler):
    def plan(self, services: Services, operation: UpdateRows, shards: int) -> list[KeyRange]:
        store = services.tables(operation.table.database)
        store.require_key(operation.table)
        # Ranges are cut over all rows: what `where` selects may change while the shards run.
        return store.plan_ranges(
            operation.table, where=None, shards=shards, least=services.settings.records_per_shard
        )

    def batch(
        self, context: StepContext, operation: UpdateRows, unit: TableUnit, progress: Progress
    ) -> Progress:
        journal = operation.reverse is None
        return _sweep(
            context, operation, unit, progress, operation.set, operation.where, context.within, journal
        )

    def as_back_batch(self, done: Done) -> TableBatch:
        operation = done.operation
        assert isinstance(operation, UpdateRows)
        reverse = operation.reverse
        if reverse is None:
            return super().as_back_batch(done)
        return in_sequence([_inverse(operation, reverse, within) for within in covered(done)])


def covered(done: Done) -> list[KeyRange]:
    """Return the ranges that the shards of a step got through: nothing outside them was touched."""
    found = []
    for shard in done.shards:
        if shard.progress.done:
            found.append(KeyRange(lower=shard.lower, upper=shard.upper))
        elif shard.progress.cursor is not None:
            found.append(KeyRange(lower=shard.lower, upper=shard.progress.cursor))
    return found


def _inverse(operation: UpdateRows, reverse: Mapping[str, str], within: KeyRange) -> TableBatch:
    def batch(context: StepContext, unit: TableUnit, progress: Progress) -> Progress:
        return _sweep(context, operation, unit, progress, reverse, None, within, journal=False)

    return batch


def _sweep(
    context: StepContext,
    operation: UpdateRows,
    unit: TableUnit,
    progress: Progress,
    assignments: Mapping[str, str],
    where: str | None,
    within: KeyRange,
    journal: bool,
) -> Progress:
    swept = unit.update_range(
        operation.table,
        assignments,
        where=where,
        within=within,
        after=progress.cursor,
        limit=context.settings.batch_rows,
        journal=journal,
    )
    return replace(
        progress,
        cursor=swept.cursor,
        batches=progress.batches + 1,
        read=progress.read + swept.read,
        written=progress.written + swept.written,
        done=swept.last,
    )
