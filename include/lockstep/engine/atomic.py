"""A whole direction in one PostgreSQL transaction, verification included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, cast

from lockstep.domain.errors import UndoFailed
from lockstep.domain.locking import PATIENCE
from lockstep.domain.operations.base import Operation
from lockstep.domain.operations.copy import Copy
from lockstep.domain.operations.sql import Sql
from lockstep.domain.pairing import statements_back
from lockstep.domain.progress import KeyRange, Phase, Progress
from lockstep.domain.resources import Postgres
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.engine.context import StepContext
from lockstep.engine.copying import Copying
from lockstep.engine.done import Done, done_steps
from lockstep.engine.expectations import check_inside
from lockstep.engine.guard import guarded
from lockstep.engine.lease import kept
from lockstep.engine.metering import batch_done
from lockstep.engine.operations.copy import CopyHandler
from lockstep.engine.operations.handler import WHOLE, TableHandler
from lockstep.engine.operations.registry import handler_of
from lockstep.engine.patience import Patience, patiently
from lockstep.engine.ports import TableStore, TableUnit
from lockstep.engine.services import Services
from lockstep.engine.steps import WHOLE_DIRECTION, direction_of
from lockstep.engine.tables import TableBatch, run_inside


def run_atomic(
    services: Services, revision: Revision, run: Run, phase: Phase, *, holder: str
) -> dict[str, Any]:
    """Run every operation of a direction, and for an upgrade its expectations, in one transaction.

    Committed: it is all there. Not committed: nothing is, and there is nothing to undo.
    """
    run = guarded(services, revision, run)
    if phase == "upgrade" and run.facts.get("undoing"):
        return {"skipped": "the run is being undone"}
    services.ledger.plan_shards(run.id, phase, WHOLE_DIRECTION, WHOLE)
    operations = revision.operations(direction_of(phase))
    if not operations:
        fence, _ = services.ledger.claim(run.id, phase, WHOLE_DIRECTION, 0, holder)
        services.ledger.save(fence, Progress(done=True))
        services.log.info(f"{direction_of(phase)}() declares nothing: there is nothing to do")
        return {"read": 0, "written": 0}
    store = services.tables(cast(Postgres, operations[0].database))
    if phase == "undo":
        store.fence_off(run.id, services.ledger.next_epoch())
    fence, _ = services.ledger.claim(run.id, phase, WHOLE_DIRECTION, 0, holder)
    context = StepContext(
        services=services, revision=revision, run=run, phase=phase, step=1, fence=fence, within=KeyRange()
    )
    context.pace()
    began = context.clock()
    with kept(services, run):
        progress = patiently(context, _patience(operations), lambda: _attempt(context, store, operations))
    batch_done(context, Progress(), progress, context.clock() - began)
    services.ledger.save(fence, progress)
    return {"read": progress.read, "written": progress.written, "transaction": "committed"}


def _patience(operations: Sequence[Operation]) -> Patience:
    """Return how long the whole transaction is tried again: as long as its most patient operation says."""
    given = [op for op in operations if isinstance(op, Sql)]
    attempts = [op.attempts for op in given if op.attempts is not None]
    return Patience(
        seconds=max((op.patience for op in given), default=PATIENCE),
        attempts=max(attempts) if given and len(attempts) == len(given) else None,
    )


def _attempt(context: StepContext, store: TableStore, operations: Sequence[Operation]) -> Progress:
    # Asked anew: the answer to a COMMIT may have been lost, and the transaction is done then.
    progress = store.claim(context.fence)
    return progress if progress.done else _once(context, store, operations)


def _once(context: StepContext, store: TableStore, operations: Sequence[Operation]) -> Progress:
    with store.unit(context.fence) as unit:
        if context.phase == "undo":
            done = _undo(context, unit)
        else:
            done = _forward(context, unit, operations)
            if context.phase == "upgrade":
                check_inside(context, unit)
        after = replace(done, done=True)
        unit.advance(after)
        context.services.reached("batch written")
    context.services.reached("batch committed")
    return after


def _forward(context: StepContext, unit: TableUnit, operations: Sequence[Operation]) -> Progress:
    whole = Progress()
    for step, operation in enumerate(operations, 1):
        context.step = step
        with context.log.group(f"step {step}: {operation.describe()}"):
            part = run_inside(context, unit, _batch_of(operation))
            if isinstance(operation, Copy):
                agreed = Copying(context.services, operation, unit).compare(KeyRange())
                context.log.info(f"{operation.title}: both sides agree", **asdict(agreed))
            context.log.info(f"{operation.title}: {part.read} record(s) read, {part.written} written")
        whole = _plus(whole, part)
    return whole


def _batch_of(operation: Operation) -> TableBatch:
    handler = handler_of(operation)
    if isinstance(handler, CopyHandler) and isinstance(operation, Copy):
        handler = handler.into(operation)
    assert isinstance(handler, TableHandler)
    return handler.as_batch(operation)


def _undo(context: StepContext, unit: TableUnit) -> Progress:
    """Take a committed direction back, last operation first."""
    whole = Progress()
    begun = done_steps(context.services, context.revision, context.run.id, strict=True)
    if not begun:
        context.log.info("the transaction had not committed: there is nothing to undo")
    for done in reversed(begun):
        context.step = done.step
        context.log.info(f"taking back step {done.step}: {done.operation.describe()}")
        for batch in _back_batches(context, done):
            whole = _plus(whole, run_inside(context, unit, batch))
    return whole


def _back_batches(context: StepContext, done: Done) -> list[TableBatch]:
    operation = done.operation
    if not isinstance(operation, Sql):
        handler = handler_of(operation)
        if isinstance(handler, CopyHandler) and isinstance(operation, Copy):
            handler = handler.into(operation)
        assert isinstance(handler, TableHandler)
        return [handler.as_back_batch(done)]
    if operation.reverse is not None:
        back: tuple[Operation, ...] | None = (replace(operation, statements=operation.reverse, reverse=None),)
    else:
        back = statements_back(context.revision, done.step, range(1, len(context.revision.upgrade) + 1))
    if back is None or any(not op.fits_in_transaction for op in back):
        raise UndoFailed(
            f"step {done.step} ({operation.title}) cannot be taken back in a transaction by downgrade(). Undo it "
            f"by hand, or restore the backup of run {done.run_id}.",
            step=done.step,
        )
    return [_batch_of(op) for op in back]


def _plus(first: Progress, second: Progress) -> Progress:
    return replace(
        first,
        batches=first.batches + second.batches,
        read=first.read + second.read,
        written=first.written + second.written,
        inserted=first.inserted + second.inserted,
    )
