"""Change objects' content type, metadata and tags."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lockstep.domain.errors import DataError
from lockstep.domain.objects import ObjectInfo, Seen
from lockstep.domain.operations.update_metadata import UpdateMetadata
from lockstep.domain.progress import KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.failing import Failing
from lockstep.engine.functions import call_info
from lockstep.engine.journaled import Prepared, run_journaled
from lockstep.engine.operations.documents import known_progress
from lockstep.engine.operations.handler import ObjectHandler, object_store
from lockstep.engine.services import Services


class UpdateMetadataHandler(ObjectHandler):
    overlaps = True

    def plan(self, services: Services, operation: UpdateMetadata, shards: int) -> list[KeyRange]:
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
        assert isinstance(operation, UpdateMetadata)
        store = object_store(context, operation)
        page = store.read(
            operation.prefix,
            suffix=operation.suffix,
            within=context.within,
            after=progress.cursor,
            limit=context.limit,
            excluding=context.excluding,
        )
        resource = str(operation.prefix)
        failing = Failing(resource)
        changed: list[tuple[Seen | ObjectInfo, ObjectInfo]] = []
        for seen in page.records:
            try:
                after = call_info(operation.function, seen.what, resource)
            except DataError as problem:
                failing.add(seen.what.key, store.cursor_of(seen.what.key), problem)
                continue
            if after != seen.what:
                changed.append((seen, after))
        failing.check()
        return Prepared(
            changes=store.stage_metadata(changed) if changed else [],
            progress=replace(
                progress,
                cursor=page.cursor if page.cursor is not None else progress.cursor,
                read=progress.read + len(page.records),
                written=progress.written + len(changed),
                done=page.last,
            ),
        )
