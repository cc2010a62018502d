"""What the journaled verbs on collections share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from lockstep.domain.progress import Change, Progress
from lockstep.domain.resources import Collection
from lockstep.engine.context import StepContext
from lockstep.engine.journaled import Prepared, refuse_conflicts, run_journaled
from lockstep.engine.operations.handler import DocumentHandler, document_store, leave_refused


class PlainDocumentHandler(DocumentHandler):
    """A verb whose changes are complete before they are written."""

    @abstractmethod
    def prepare(self, context: StepContext, progress: Progress) -> Prepared: ...

    def write(self, context: StepContext, changes: Sequence[Change]) -> Sequence[Change]:
        target = context.operation.writes[0]
        assert isinstance(target, Collection)
        applied = document_store(context, context.operation).apply(target, changes)
        refuse_conflicts(str(target), applied.conflicts, context.operation.title)
        if not applied.refused:
            return changes
        leave_refused(context, str(target), applied.refused)
        refused = {record.key for record in applied.refused}
        return [change for change in changes if change.key not in refused]

    def forward(self, context: StepContext, operation: Any) -> Progress:
        state = known_progress(context)
        return run_journaled(context, self, state, operation.title)


def known_progress(context: StepContext) -> Progress:
    """Return what the ledger knows of this shard."""
    fence = context.fence
    for shard in context.services.ledger.shards(fence.run_id, fence.phase):
        if (shard.step, shard.shard) == (fence.step, fence.shard):
            return shard.progress
    return Progress()
