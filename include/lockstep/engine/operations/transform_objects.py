"""Transform objects by a Python function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lockstep.domain.objects import StoredObject
from lockstep.domain.operations.transform_objects import TransformObjects
from lockstep.domain.progress import KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.functions import call_object
from lockstep.engine.journaled import Prepared, run_journaled
from lockstep.engine.operations.documents import known_progress
from lockstep.engine.operations.handler import ObjectHandler, object_store
from lockstep.engine.reading import bodies
from lockstep.engine.services import Services

#: bytes of bodies that one batch holds in memory, at most, unless one object alone is larger
BATCH_BYTES = 32 * 1024 * 1024


class TransformObjectsHandler(ObjectHandler):
    def plan(self, services: Services, operation: TransformObjects, shards: int) -> list[KeyRange]:
        return services.objects(operation.prefix.database).plan_ranges(
            operation.prefix,
            suffix=operation.suffix,
            shards=shards,
            least=services.settings.objects_per_shard,
        )

    def forward(self, context: StepContext, operation: Any) -> Progress:
        return run_journaled(context, self, known_progress(context), operation.title)

    def prepare(self, context: StepContext, progress: Progress) -> Prepared:
        operation = context.operation
        assert isinstance(operation, TransformObjects)
        store = object_store(context, operation)
        limit = context.limit
        page = store.read(
            operation.prefix,
            suffix=operation.suffix,
            within=context.within,
            after=progress.cursor,
            limit=limit,
        )
        fitting = _fitting([info.size for info in page.records])
        if fitting < len(page.records):
            page = store.read(
                operation.prefix,
                suffix=operation.suffix,
                within=context.within,
                after=progress.cursor,
                limit=fitting,
            )
        pairs: list[tuple[StoredObject | None, StoredObject | None]] = []
        for before in bodies(store, [info.key for info in page.records]):
            after = call_object(operation.function, before, str(operation.prefix))
            if after != before:
                pairs.append((before, after))
        changes = store.stage(self.area(context, progress), pairs) if pairs else []
        return Prepared(
            changes=changes,
            progress=replace(
                progress,
                cursor=page.cursor if page.cursor is not None else progress.cursor,
                read=progress.read + len(page.records),
                written=progress.written + len(pairs),
                done=page.last,
            ),
        )


def _fitting(sizes: list[int]) -> int:
    """Return how many of the objects fit one batch's memory; at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > BATCH_BYTES:
            return max(count, 1)
    return len(sizes)
