"""Transform documents by a Python function."""

from __future__ import annotations

from dataclasses import replace

from lockstep.domain.errors import DataError
from lockstep.domain.operations.transform_documents import TransformDocuments
from lockstep.domain.progress import Change, KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.failing import Failing
from lockstep.engine.functions import call_document
from lockstep.engine.journaled import Prepared
from lockstep.engine.operations.documents import PlainDocumentHandler
from lockstep.engine.operations.handler import document_store
from lockstep.engine.services import Services


class TransformDocumentsHandler(PlainDocumentHandler):
    overlaps = True

    def plan(self, services: Services, operation: TransformDocuments, shards: int) -> list[KeyRange]:
        return services.documents(operation.collection.database).plan_ranges(
            operation.collection, where=None, shards=shards, least=services.settings.documents_per_shard
        )

    def prepare(self, context: StepContext, progress: Progress) -> Prepared:
        operation = context.operation
        assert isinstance(operation, TransformDocuments)
        store = document_store(context, operation)
        page = store.read(
            operation.collection,
            where=operation.where,
            within=context.within,
            after=progress.cursor,
            limit=context.limit,
            excluding=context.excluding,
        )
        resource = str(operation.collection)
        failing = Failing(resource)
        changes: list[Change] = []
        for document in page.records:
            try:
                change = store.change(document, call_document(operation.function, document, resource))
            except DataError as problem:
                failing.add(document["_id"], store.cursor_of(document), problem)
                continue
            if change is not None:
                changes.append(change)
        failing.check()
        return Prepared(
            changes=changes,
            progress=replace(
                progress,
                cursor=page.cursor if page.cursor is not None else progress.cursor,
                read=progress.read + len(page.records),
                written=progress.written + len(changes),
                done=page.last,
            ),
            size=page.size,
        )
