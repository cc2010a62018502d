"""What the engine knows of an operation: how to plan it, do it, and take it back."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, cast

from lockstep.domain.errors import BadRecords
from lockstep.domain.operations.base import Operation
from lockstep.domain.operations.copy import Copy
from lockstep.domain.progress import Change, KeyRange, Progress
from lockstep.domain.quarantine import Quarantined
from lockstep.domain.resources import Bucket, Mongo, Postgres
from lockstep.domain.run import BatchEntry
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done
from lockstep.engine.journaled import images, refuse_conflicts
from lockstep.engine.ports import DocumentStore, ObjectStore, TableStore, TableUnit
from lockstep.engine.services import Services
from lockstep.engine.tables import Paged, TableBatch, run_batches

WHOLE = [KeyRange()]


class Handler(Protocol):
    """One verb. Every method may be called again after a crash and goes on where it stopped."""

    def plan(self, services: Services, operation: Any, shards: int) -> list[KeyRange]: ...

    def forward(self, context: StepContext, operation: Any) -> Progress: ...

    def back(self, context: StepContext, done: Done) -> Progress: ...


class TableHandler(ABC):
    """A verb whose effect is in PostgreSQL, batch by batch in transactions."""

    def plan(self, services: Services, operation: Any, shards: int) -> list[KeyRange]:
        return WHOLE

    def paged(self, context: StepContext, operation: Any) -> Paged | None:
        """Return what a verb that goes through rows by key says of itself; None for every other."""
        return None

    @abstractmethod
    def batch(self, context: StepContext, operation: Any, unit: TableUnit, progress: Progress) -> Progress:
        """Do one more batch inside the unit; return how far the shard then is."""

    def back_batch(self, context: StepContext, done: Done, unit: TableUnit, progress: Progress) -> Progress:
        """Take one more batch back from the journal."""
        taken = unit.take_back(done.run_id, done.step, limit=context.limit, strict=done.strict)
        if taken.conflicts:
            context.log.warning(
                f"{len(taken.conflicts)} record(s) were changed since and are left as they are",
                keys=list(taken.conflicts[:10]),
            )
        return replace(
            progress,
            batches=progress.batches + 1,
            read=progress.read + taken.restored + len(taken.conflicts),
            written=progress.written + taken.restored,
            done=taken.last,
        )

    def forward(self, context: StepContext, operation: Any) -> Progress:
        store = table_store(context, operation)
        return run_batches(
            context, store, self.as_batch(operation), operation.title, self.paged(context, operation)
        )

    def back(self, context: StepContext, done: Done) -> Progress:
        store = table_store(context, done.operation)
        return run_batches(context, store, self.as_back_batch(done), f"taking back {done.operation.title}")

    def as_batch(self, operation: Any) -> TableBatch:
        return lambda context, unit, progress: self.batch(context, operation, unit, progress)

    def as_back_batch(self, done: Done) -> TableBatch:
        return lambda context, unit, progress: self.back_batch(context, done, unit, progress)


class JournaledHandler(ABC):
    """A verb whose effect is in MongoDB or S3: its way back is the journal, newest batch first."""

    #: whether a batch may be prepared before the one before it is written: it must not read what that writes
    overlaps = False

    def plan(self, services: Services, operation: Any, shards: int) -> list[KeyRange]:
        return WHOLE

    @abstractmethod
    def swapped(self, context: StepContext, done: Done, entry: BatchEntry) -> Sequence[Change]:
        """Return the changes that take a batch back."""

    @abstractmethod
    def put_back(
        self, context: StepContext, done: Done, changes: Sequence[Change]
    ) -> tuple[int, tuple[str, ...]]:
        """Write them; return how many records are back, and the keys left alone."""

    def back(self, context: StepContext, done: Done) -> Progress:
        progress = Progress()
        phase = "upgrade"
        ledger = context.services.ledger
        for entry in reversed(ledger.batches(done.run_id, phase, done.step)):
            if entry.state == "undone":
                continue
            context.pace()
            changes = self.swapped(context, done, entry)
            context.still_ours()
            restored, conflicts = self.put_back(context, done, changes)
            if done.strict:
                refuse_conflicts(str(done.operation.writes[0]), conflicts, "taking it back")
            if conflicts:
                context.log.warning(
                    f"{len(conflicts)} record(s) were changed since and are left as they are",
                    keys=list(conflicts[:10]),
                )
            context.services.reached("batch taken back")
            context.still_ours()
            ledger.set_batch_state(done.run_id, phase, entry, "undone")
            progress = replace(
                progress,
                batches=progress.batches + 1,
                read=progress.read + restored + len(conflicts),
                written=progress.written + restored,
            )
            context.tell(progress, f"taking back {done.operation.title}")
        progress = replace(progress, done=True)
        ledger.save(context.fence, progress)
        return progress


class DocumentHandler(JournaledHandler):
    """A journaled verb on a collection: changes are before and after documents."""

    def pack(self, context: StepContext, changes: Sequence[Change]) -> bytes:
        return document_store(context, self.home(context)).pack(changes)

    def unpack(self, context: StepContext, packed: bytes) -> list[Change]:
        return document_store(context, self.home(context)).unpack(packed)

    def home(self, context: StepContext) -> Operation:
        return context.operation

    def swapped(self, context: StepContext, done: Done, entry: BatchEntry) -> Sequence[Change]:
        changes = document_store(context, done.operation).unpack(images(context, entry))
        return [replace(change, before=change.after, after=change.before) for change in reversed(changes)]

    def put_back(
        self, context: StepContext, done: Done, changes: Sequence[Change]
    ) -> tuple[int, tuple[str, ...]]:
        store = document_store(context, done.operation)
        applied = store.apply(done.operation.writes[0], changes)  # type: ignore[arg-type]
        return applied.written + applied.already, applied.conflicts


class ObjectHandler(JournaledHandler):
    """A journaled verb on a prefix: changes are before and after states, bodies staged in the bucket."""

    def pack(self, context: StepContext, changes: Sequence[Change]) -> bytes:
        return object_store(context, context.operation).pack(changes)

    def unpack(self, context: StepContext, packed: bytes) -> list[Change]:
        return object_store(context, context.operation).unpack(packed)

    def write(self, context: StepContext, changes: Sequence[Change]) -> Sequence[Change]:
        applied = object_store(context, context.operation).apply(changes, may_write=context.still_ours)
        resource = str(context.operation.writes[0])
        refuse_conflicts(resource, applied.conflicts, context.operation.title)
        if not applied.refused:
            return changes
        leave_refused(context, resource, applied.refused)
        refused = {record.key for record in applied.refused}
        cursor_of = object_store(context, context.operation).cursor_of
        return [change for change in changes if cursor_of(change.key) not in refused]

    def swapped(self, context: StepContext, done: Done, entry: BatchEntry) -> Sequence[Change]:
        store = object_store(context, done.operation)
        return store.swap(store.unpack(images(context, entry)))

    def put_back(
        self, context: StepContext, done: Done, changes: Sequence[Change]
    ) -> tuple[int, tuple[str, ...]]:
        applied = object_store(context, done.operation).apply(changes, may_write=context.still_ours)
        return applied.written + applied.already, applied.conflicts

    def area(self, context: StepContext, progress: Progress) -> str:
        """Return where this batch's bodies are staged; the epoch keeps attempts apart."""
        fence = context.fence
        return f"{fence.run_id}/{fence.phase}/{fence.step:03}/{fence.shard:03}/{progress.batches + 1:06}.{fence.epoch}"


def leave_refused(context: StepContext, resource: str, refused: Sequence[Quarantined]) -> None:
    """Leave records that the server did not take, as the policy says; those of a copy end it.

    A copy finds its records by their place in the source, and the server names those of the target: listed,
    nobody would find them again.
    """
    if refused and isinstance(context.operation, Copy):
        raise BadRecords(resource=resource, records=tuple(refused))
    context.refuse(resource, refused)


def table_store(context: StepContext, operation: Operation) -> TableStore:
    return context.services.tables(cast(Postgres, operation.database))


def document_store(context: StepContext, operation: Operation) -> DocumentStore:
    return context.services.documents(cast(Mongo, operation.database))


def object_store(context: StepContext, operation: Operation) -> ObjectStore:
    return context.services.objects(cast(Bucket, operation.database))


def in_sequence(parts: Sequence[TableBatch]) -> TableBatch:
    """Return one batch function that does the parts in order; the cursor says which part, and where in it."""

    def batch(context: StepContext, unit: TableUnit, progress: Progress) -> Progress:
        place, inner = json.loads(progress.cursor) if progress.cursor else (0, None)
        if place >= len(parts):
            return replace(progress, done=True)
        after = parts[place](context, unit, replace(progress, cursor=inner, done=False))
        if after.done:
            place, inner = place + 1, None
        else:
            inner = after.cursor
        return replace(after, cursor=json.dumps([place, inner]), done=place >= len(parts))

    return batch
