"""What the verbs that go through a table by key range share: the plan, and the inverse over what was covered."""

from __future__ import annotations

from abc import abstractmethod
from copy import copy
from typing import Any

from lockstep.domain.errors import DataError
from lockstep.domain.operations.transform_rows import TransformRows
from lockstep.domain.operations.update_rows import UpdateRows
from lockstep.domain.progress import Cursor, KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done
from lockstep.engine.operations.handler import TableHandler, in_sequence
from lockstep.engine.ports import TableUnit
from lockstep.engine.quarantine import left_by
from lockstep.engine.services import Services
from lockstep.engine.tables import Paged, TableBatch


class ByKeyRange(TableHandler):
    """A verb that changes rows range by range, by something that may have an exact inverse."""

    def plan(self, services: Services, operation: Any, shards: int) -> list[KeyRange]:
        store = services.tables(operation.table.database)
        store.require_key(operation.table)
        # Ranges are cut over all rows: what `where` selects may change while the shards run.
        return store.plan_ranges(
            operation.table, where=None, shards=shards, least=services.settings.rows_per_shard
        )

    @abstractmethod
    def sweep(
        self,
        context: StepContext,
        operation: Any,
        unit: TableUnit,
        progress: Progress,
        within: KeyRange,
        *,
        inverse: bool,
    ) -> Progress:
        """Do the next batch of a range: forward, or by the inverse and without a journal."""

    def paged(self, context: StepContext, operation: Any) -> Paged:
        return Paged(table=operation.table, next_record=self._next_record)

    def _next_record(self, context: StepContext, progress: Progress) -> tuple[Cursor, str]:
        operation = context.operation
        assert isinstance(operation, (TransformRows, UpdateRows))
        store = context.services.tables(operation.table.database)
        key = store.keys_of(operation.table)
        page = store.read(
            operation.table,
            columns=key,
            where=operation.where,
            within=context.within,
            after=progress.cursor,
            limit=1,
            excluding=context.excluding,
        )
        if page.cursor is None or not page.records:
            raise DataError(
                f"{operation.table}: the record that a batch failed on is gone. Clear the task to go on.",
                table=operation.table.slug,
            )
        return page.cursor, ", ".join(str(page.records[0][column]) for column in key)

    def batch(self, context: StepContext, operation: Any, unit: TableUnit, progress: Progress) -> Progress:
        return self.sweep(context, operation, unit, progress, context.within, inverse=False)

    def as_back_batch(self, done: Done) -> TableBatch:
        operation = done.operation
        assert isinstance(operation, (TransformRows, UpdateRows))
        if operation.reverse is None:
            return super().as_back_batch(done)
        return in_sequence([self._inverse(operation, within, done) for within in covered(done)])

    def _inverse(self, operation: TransformRows | UpdateRows, within: KeyRange, done: Done) -> TableBatch:
        def batch(context: StepContext, unit: TableUnit, progress: Progress) -> Progress:
            # What the run left was carried by a later try, if at all, and that one is taken back by itself.
            left = (one.record.key for one in left_by(context.services, done.run_id, done.step))
            inner = copy(context)
            inner.excluding = tuple(dict.fromkeys((*context.excluding, *left)))
            return self.sweep(inner, operation, unit, progress, within, inverse=True)

        return batch


def covered(done: Done) -> list[KeyRange]:
    """Return the ranges that the shards of a step got through: nothing outside them was touched."""
    found = []
    for shard in done.shards:
        if shard.progress.done:
            found.append(KeyRange(lower=shard.lower, upper=shard.upper, keys=shard.keys))
        elif shard.progress.cursor is not None:
            found.append(KeyRange(lower=shard.lower, upper=shard.progress.cursor, keys=shard.keys))
    return found
