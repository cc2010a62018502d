"""Transform objects by a Python function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lockstep.domain.errors import DataError
from lockstep.domain.objects import Seen, StoredObject
from lockstep.domain.operations.transform_objects import TransformObjects
from lockstep.domain.progress import KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.failing import Failing
from lockstep.engine.functions import call_object
from lockstep.engine.journaled import Prepared, run_journaled
from lockstep.engine.operations.documents import known_progress
from lockstep.engine.operations.handler import ObjectHandler, object_store
from lockstep.engine.services import Services

#: bytes of bodies that one batch holds in memory, at most, unless one object alone is larger
BATCH_BYTES = 32 * 1024 * 1024


class TransformObjectsHandler(ObjectHandler):
    overlaps = True

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
        page = store.read(
            operation.prefix,
            suffix=operation.suffix,
            within=context.within,
            after=progress.cursor,
            limit=context.limit,
            excluding=context.excluding,
            bodies=BATCH_BYTES,
        )
        resource = str(operation.prefix)
        failing = Failing(resource)
        pairs: list[tuple[Seen | StoredObject | None, StoredObject | None]] = []
        for seen in page.records:
            try:
                after = call_object(operation.function, seen.what, resource)
            except DataError as problem:
                failing.add(seen.what.key, store.cursor_of(seen.what.key), problem)
                continue
            if after != seen.what:
                pairs.append((seen, after))
        failing.check()
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
            size=page.size,
        )
