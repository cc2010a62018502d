"""The driver of MongoDB and S3 work: journal a batch, then write it.

A batch's before- and after-images go to the vault; one unique row in the ledger wins the batch; then each
record is written only if it still is its before-image. After a crash the batch is written again from the
journal, never computed again, so a transform that is not idempotent is applied once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from lockstep.domain.errors import BackupNotProven, BadRecords, ConflictError
from lockstep.domain.operations.base import OnCollection
from lockstep.domain.progress import Change, Progress
from lockstep.domain.resources import Mongo
from lockstep.domain.run import BatchEntry
from lockstep.domain.sizing import Sizer
from lockstep.engine.ahead import Ahead
from lockstep.engine.bounds import bounds_of
from lockstep.engine.context import StepContext
from lockstep.engine.metering import batch_done

#: records of a first batch
START_DOCUMENTS = 200
START_OBJECTS = 20


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A batch that is computed and not yet written."""

    changes: Sequence[Change]
    #: how far the shard is once it is written; `batches` is counted by the driver
    progress: Progress
    #: bytes that were read; 0 where nobody knows
    size: int = 0


class Journaled(Protocol):
    """How one operation prepares and writes its batches."""

    #: whether a batch may be prepared before the one before it is written: it must not read what that writes
    overlaps: bool

    def prepare(self, context: StepContext, progress: Progress) -> Prepared:
        """Read and compute the next batch of `context.limit` records; BadRecords names those that cannot be."""

    def write(self, context: StepContext, changes: Sequence[Change]) -> Sequence[Change]:
        """Write the changes, idempotently; return them with after-images that only the server knew."""

    def pack(self, context: StepContext, changes: Sequence[Change]) -> bytes: ...

    def unpack(self, context: StepContext, packed: bytes) -> list[Change]: ...


def run_journaled(context: StepContext, work: Journaled, progress: Progress, doing: str) -> Progress:
    """Finish what an earlier attempt journaled, then do batch after batch until done.

    The next batch is read and computed while the one before is journaled and written, where the verb allows.
    """
    progress = _replay(context, work, progress)
    sizer = _sizer(context)
    took = 0.0
    with Ahead(context, work.prepare, work.overlaps) as ahead:
        while not progress.done:
            context.pace(took)
            context.limit = sizer.size
            began = context.clock()
            try:
                prepared = ahead.take(progress)
            except BadRecords as problem:
                context.leave(problem)
                continue
            after = replace(prepared.progress, batches=progress.batches + 1, quarantined=context.quarantined)
            ahead.start(after)
            read, before = after.read - progress.read, progress
            progress = _commit(context, work, prepared.changes, after)
            context.services.reached("batch committed")
            took = context.clock() - began
            batch_done(context, before, progress, took)
            sizer.observe(read, took, prepared.size)
            context.tell(progress, doing)
    context.services.ledger.save(context.fence, progress, rate=context.rate)
    return progress


def _commit(context: StepContext, work: Journaled, changes: Sequence[Change], after: Progress) -> Progress:
    """Journal a batch and write it; return how far the shard then is."""
    if not changes:
        context.services.ledger.save(context.fence, after, rate=context.rate)
        return after
    entry = journal(context, work.pack(context, changes), after)
    context.services.reached("batch journaled")
    return _write(context, work, entry, changes)


def _sizer(context: StepContext) -> Sizer:
    settings, operation = context.settings, context.operation
    if not isinstance(operation.database, Mongo):
        return Sizer(bounds_of(settings, settings.batch_objects), start=START_OBJECTS)
    width = None
    if isinstance(operation, OnCollection):
        # Known beforehand, so that a first batch of large documents fits into memory too.
        width = context.services.documents(operation.database).width(operation.collection)
    return Sizer(bounds_of(settings, settings.batch_documents), start=START_DOCUMENTS, width=width)


def journal(context: StepContext, packed: bytes, after: Progress) -> BatchEntry:
    """Keep a batch's images in the vault and win its row in the ledger."""
    fence = context.fence
    # The epoch is part of the path: a worker that was taken over cannot overwrite its successor's images.
    path = (
        f"journal/{fence.run_id}/{fence.phase}/{fence.step:03}/{fence.shard:03}/"
        f"{after.batches:06}.{fence.epoch}"
    )
    context.services.vault.put(path, packed)
    entry = BatchEntry(
        step=fence.step,
        shard=fence.shard,
        batch=after.batches,
        state="won",
        path=path,
        sha256=hashlib.sha256(packed).hexdigest(),
        progress=after,
    )
    context.services.ledger.win_batch(fence, entry)
    return entry


def images(context: StepContext, entry: BatchEntry) -> bytes:
    """Return a batch's images as they were journaled; BackupNotProven if they are not those."""
    packed = context.services.vault.get(entry.path)
    if hashlib.sha256(packed).hexdigest() != entry.sha256:
        raise BackupNotProven(
            f"the journal {context.services.vault.uri(entry.path)} is not what was written. Look who writes to "
            "the vault; the records of this batch can be found in the backup.",
            path=entry.path,
        )
    return packed


def _replay(context: StepContext, work: Journaled, progress: Progress) -> Progress:
    fence = context.fence
    entries = context.services.ledger.batches(fence.run_id, fence.phase, fence.step, fence.shard)
    for entry in entries:
        if entry.state != "won":
            continue
        context.log.warning(
            f"batch {entry.batch} was journaled by an attempt that ended; writing what is missing of it"
        )
        progress = _write(context, work, entry, work.unpack(context, images(context, entry)))
    return progress


def _write(context: StepContext, work: Journaled, entry: BatchEntry, changes: Sequence[Change]) -> Progress:
    # A record that an undo has brought back is its before-image again: the condition on it would let us in.
    # Always asked anew: what was journaled a moment ago may have been fenced off since.
    context.still_ours(asked_before=False)
    known = work.write(context, changes)
    context.services.reached("batch written")
    if known is not changes:
        packed = work.pack(context, known)
        path = f"{entry.path}.done"
        context.services.vault.put(path, packed)
        entry = replace(entry, path=path, sha256=hashlib.sha256(packed).hexdigest())
    # Known only now: what the server did not take is neither written nor journaled as written.
    progress = replace(
        entry.progress,
        quarantined=context.quarantined,
        written=entry.progress.written - (len(changes) - len(known)),
    )
    context.services.ledger.close_batch(context.fence, replace(entry, progress=progress), "applied")
    return progress


def refuse_conflicts(resource: str, conflicts: tuple[str, ...], doing: str) -> None:
    if conflicts:
        raise ConflictError(resource=resource, keys=conflicts, doing=doing)
