"""Update documents by the server's own operators.

What the server makes of a document is known only afterwards, so the batch is journaled with before-images,
written to each document that still is one, and journaled again with what is there then. A document that somebody
else changed meanwhile is a conflict, as it is everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lockstep.domain.operations.update_documents import UpdateDocuments
from lockstep.domain.progress import Change, KeyRange, Progress
from lockstep.domain.run import BatchEntry
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done
from lockstep.engine.journaled import Prepared, images, refuse_conflicts, run_journaled
from lockstep.engine.operations.documents import known_progress
from lockstep.engine.operations.handler import DocumentHandler, document_store
from lockstep.engine.services import Services


class UpdateDocumentsHandler(DocumentHandler):
    overlaps = True

    def plan(self, services: Services, operation: UpdateDocuments, shards: int) -> list[KeyRange]:
        return services.documents(operation.collection.database).plan_ranges(
            operation.collection, where=None, shards=shards, least=services.settings.documents_per_shard
        )

    def forward(self, context: StepContext, operation: Any) -> Progress:
        return run_journaled(context, self, known_progress(context), operation.title)

    def prepare(self, context: StepContext, progress: Progress) -> Prepared:
        operation = context.operation
        assert isinstance(operation, UpdateDocuments)
        store = document_store(context, operation)
        page = store.read(
            operation.collection,
            where=operation.where,
            within=context.within,
            after=progress.cursor,
            limit=context.limit,
            excluding=context.excluding,
        )
        changes = [Change(key=store.key_text(d["_id"]), before=d, after=None) for d in page.records]
        return Prepared(
            changes=changes,
            progress=replace(
                progress,
                cursor=page.cursor if page.cursor is not None else progress.cursor,
                read=progress.read + len(changes),
                written=progress.written + len(changes),
                done=page.last,
            ),
            size=page.size,
        )

    def write(self, context: StepContext, changes: Sequence[Change]) -> Sequence[Change]:
        operation = context.operation
        assert isinstance(operation, UpdateDocuments)
        store = document_store(context, operation)
        applied = store.update(operation.collection, operation.update, [change.before for change in changes])
        context.refuse(str(operation.collection), applied.refused)
        refuse_conflicts(str(operation.collection), applied.conflicts, operation.title)
        refused = {record.key for record in applied.refused}
        now = store.fetch(operation.collection, [change.before["_id"] for change in changes])
        return [replace(change, after=now.get(change.key)) for change in changes if change.key not in refused]

    def swapped(self, context: StepContext, done: Done, entry: BatchEntry) -> Sequence[Change]:
        """Return the changes that take a batch back; what one that was cut off has written is foreseen."""
        if entry.path.endswith(".done"):
            return super().swapped(context, done, entry)
        operation = done.operation
        assert isinstance(operation, UpdateDocuments)
        store = document_store(context, operation)
        changes = store.unpack(images(context, entry))
        afters = store.foresee(operation.collection, operation.update, [change.before for change in changes])
        return [Change(key=c.key, before=afters[c.key], after=c.before) for c in reversed(changes)]
