"""Transform documents by a Python function."""

from __future__ import annotations

from dataclasses import replace

from lockstep.domain.operations.transform_documents import TransformDocuments
from lockstep.domain.progress import Change, KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.functions import call_document
from lockstep.engine.journaled import Prepared
from lockstep.engine.operations.documents import PlainDocumentHandler
from lockstep.engine.operations.handler import document_store
from lockstep.engine.services import Services


class TransformDocumentsHandler(PlainDocumentHandler):
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
        )
        changes = []
        for document in page.records:
            after = call_document(operation.function, document, str(operation.collection))
            if not store.same(document, after):
                changes.append(Change(key=store.key_text(document["_id"]), before=document, after=after))
        return Prepared(
            changes=changes,
            progress=replace(
                progress,
                cursor=page.cursor if page.cursor is not None else progress.cursor,
                read=progress.read + len(page.records),
                written=progress.written + len(changes),
                done=page.last,
            ),
        )
