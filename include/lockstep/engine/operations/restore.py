"""Take back what the upgrade did to a resource, for a downgrade that was asked for."""

from __future__ import annotations

from dataclasses import replace

from lockstep.domain.errors import UndoFailed
from lockstep.domain.operations.base import WayBack
from lockstep.domain.operations.copy import Copy
from lockstep.domain.operations.restore import Restore
from lockstep.domain.operations.run_python import RunPython
from lockstep.domain.operations.sql import Sql
from lockstep.domain.progress import KeyRange, Progress
from lockstep.domain.resources import Table
from lockstep.domain.status import RunStatus
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done, done_steps
from lockstep.engine.operations.copy import CopyHandler
from lockstep.engine.operations.handler import WHOLE, TableHandler, in_sequence, table_store
from lockstep.engine.operations.registry import handler_of
from lockstep.engine.quarantine import tries_of
from lockstep.engine.services import Services
from lockstep.engine.tables import run_batches

_APPLIED = (RunStatus.APPLIED, RunStatus.APPLIED_WITH_QUARANTINE)


class RestoreHandler:
    def plan(self, services: Services, operation: Restore, shards: int) -> list[KeyRange]:
        return WHOLE

    def forward(self, context: StepContext, operation: Restore) -> Progress:
        """Take the upgrade's steps on the resource back, last first; records changed since are left alone."""
        source = context.run.source_run
        if source is None:
            raise UndoFailed(
                f"{operation.resource}: the ledger knows no run that applied revision {context.revision.id!r}, so "
                "there is no journal to restore from. Restore a backup by hand.",
                revision=context.revision.id,
            )
        tries = [run.id for run in tries_of(context.services, source) if run.status in _APPLIED]
        steps = [
            done
            for run_id in (*tries, source)
            for done in reversed(done_steps(context.services, context.revision, run_id, strict=False))
            if operation.resource in done.operation.writes
            and done.operation.way_back in (WayBack.JOURNAL, WayBack.PARKED, WayBack.INVERSE)
            and not isinstance(done.operation, RunPython)
        ]
        if isinstance(operation.resource, Table):
            return self._rows(context, operation, steps)
        progress = Progress()
        for done in steps:
            part = handler_of(done.operation).back(context, done)
            progress = replace(
                progress,
                batches=progress.batches + part.batches,
                read=progress.read + part.read,
                written=progress.written + part.written,
            )
        progress = replace(progress, done=True)
        context.services.ledger.save(context.fence, progress)
        return progress

    def _rows(self, context: StepContext, operation: Restore, steps: list[Done]) -> Progress:
        parts = []
        for done in steps:
            handler = handler_of(done.operation)
            if isinstance(handler, CopyHandler) and isinstance(done.operation, Copy):
                handler = handler.into(done.operation)
            if isinstance(handler, TableHandler) and not isinstance(done.operation, Sql):
                parts.append(handler.as_back_batch(done))
        store = table_store(context, operation)
        return run_batches(context, store, in_sequence(parts), operation.title)

    def back(self, context: StepContext, done: Done) -> Progress:
        raise UndoFailed("ops.restore is part of a downgrade, and a downgrade is not taken back.")
