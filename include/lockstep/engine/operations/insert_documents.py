"""Insert reference documents."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.domain.operations.insert_documents import InsertDocuments
from lockstep.domain.progress import Change, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.journaled import Prepared
from lockstep.engine.operations.documents import PlainDocumentHandler
from lockstep.engine.operations.handler import document_store


class InsertDocumentsHandler(PlainDocumentHandler):
    def prepare(self, context: StepContext, progress: Progress) -> Prepared:
        operation = context.operation
        assert isinstance(operation, InsertDocuments)
        store = document_store(context, operation)
        there = store.fetch(operation.collection, [document["_id"] for document in operation.documents])
        changes: list[Change] = []
        for document in operation.documents:
            key = store.key_text(document["_id"])
            if key not in there:
                changes.append(Change(key=key, before=None, after=dict(document)))
        context.log.info(
            f"{operation.collection}: {len(changes)} document(s) to insert, {len(there)} there already and left alone"
        )
        return Prepared(changes=changes, progress=_done(operation.documents, changes))


def _done(documents: Sequence[object], changes: Sequence[Change]) -> Progress:
    return Progress(read=len(documents), written=len(changes), inserted=len(changes), done=True)
