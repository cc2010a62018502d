"""Copy records between any two kinds of resource."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from lockstep.domain.objects import Seen, StoredObject
from lockstep.domain.operations.copy import Copy
from lockstep.domain.progress import Change, KeyRange, Progress
from lockstep.domain.resources import Collection, Prefix, Table
from lockstep.engine.context import StepContext
from lockstep.engine.copying import Copying, Mapped
from lockstep.engine.done import Done
from lockstep.engine.journaled import Prepared, run_journaled
from lockstep.engine.operations.documents import PlainDocumentHandler, known_progress
from lockstep.engine.operations.handler import (
    Handler,
    ObjectHandler,
    TableHandler,
    document_store,
    object_store,
)
from lockstep.engine.ports import TableUnit
from lockstep.engine.services import Services


class CopyHandler:
    """Choose by the target's kind; afterwards read both sides again and compare them."""

    def plan(self, services: Services, operation: Copy, shards: int) -> list[KeyRange]:
        source, settings = operation.source, services.settings
        if isinstance(operation.target, Table):
            services.tables(operation.target.database).require_key(operation.target)
        if isinstance(source, Table):
            store = services.tables(source.database)
            store.require_key(source)
            return store.plan_ranges(source, where=None, shards=shards, least=settings.documents_per_shard)
        if isinstance(source, Collection):
            return services.documents(source.database).plan_ranges(
                source, where=None, shards=shards, least=settings.documents_per_shard
            )
        return services.objects(source.database).plan_ranges(
            source, suffix=operation.where or "", shards=shards, least=settings.objects_per_shard
        )

    def forward(self, context: StepContext, operation: Copy) -> Progress:
        progress = self.into(operation).forward(context, operation)
        agreed = Copying(context.services, operation).compare(context.within, context.excluding)
        with context.services.ledger.unit() as unit:
            unit.change_run(
                context.run.id,
                facts={f"copy.{context.phase}.{context.step}.{context.fence.shard}": asdict(agreed)},
            )
        context.log.info(
            f"{operation.title}: {agreed.source_count} record(s) on both sides, content hash {agreed.source_hash[:12]}"
        )
        return progress

    def back(self, context: StepContext, done: Done) -> Progress:
        assert isinstance(done.operation, Copy)
        return self.into(done.operation).back(context, done)

    def into(self, operation: Copy) -> Handler:
        """Return the handler of the target's kind."""
        if isinstance(operation.target, Table):
            return CopyToTable()
        return CopyToCollection() if isinstance(operation.target, Collection) else CopyToPrefix()


def _advanced(progress: Progress, page_read: int, cursor: str | None, last: bool, **counts: int) -> Progress:
    return replace(
        progress,
        cursor=cursor if cursor is not None else progress.cursor,
        read=progress.read + page_read,
        written=progress.written + counts.get("written", 0),
        inserted=progress.inserted + counts.get("inserted", 0),
        done=last,
    )


def _warn_rounded(context: StepContext, mapped: Mapped) -> None:
    if mapped.rounded:
        context.log.warning(
            f"{mapped.rounded} record(s) have times finer than a millisecond, which BSON dates cannot hold: "
            "cut to milliseconds in the copy; the source keeps them"
        )


class CopyToTable(TableHandler):
    def batch(self, context: StepContext, operation: Copy, unit: TableUnit, progress: Progress) -> Progress:
        copying = Copying(context.services, operation, unit)
        page, mapped = copying.next(context.within, progress.cursor, context.limit, context.excluding)
        inserted, overwritten = (
            unit.upsert_rows(operation.target, mapped.records)  # type: ignore[arg-type]
            if mapped.records
            else (0, 0)
        )
        return replace(
            _advanced(
                progress,
                len(page.records),
                page.cursor,
                page.last,
                written=inserted + overwritten,
                inserted=inserted,
            ),
            batches=progress.batches + 1,
        )


class CopyToCollection(PlainDocumentHandler):
    def prepare(self, context: StepContext, progress: Progress) -> Prepared:
        operation = context.operation
        assert isinstance(operation, Copy)
        store = document_store(context, operation)
        copying = Copying(context.services, operation)
        page, mapped = copying.next(context.within, progress.cursor, context.limit, context.excluding)
        _warn_rounded(context, mapped)
        there = copying.fetch(mapped.records)
        changes = [
            change
            for document in mapped.records
            if (change := store.change(there.get(store.key_text(document["_id"])), document)) is not None
        ]
        return Prepared(changes=changes, progress=_counted(progress, page, changes), size=page.size)


class CopyToPrefix(ObjectHandler):
    def forward(self, context: StepContext, operation: Any) -> Progress:
        return run_journaled(context, self, known_progress(context), operation.title)

    def prepare(self, context: StepContext, progress: Progress) -> Prepared:
        operation = context.operation
        assert isinstance(operation, Copy)
        assert isinstance(operation.target, Prefix)
        copying = Copying(context.services, operation)
        page, mapped = copying.next(context.within, progress.cursor, context.limit, context.excluding)
        store = object_store(context, operation)
        there = store.fetch([made.key for made in mapped.records])
        pairs: list[tuple[Seen | None, StoredObject]] = []
        for made in mapped.records:
            seen = there.get(made.key)
            if seen is None or seen.what != made:
                pairs.append((seen, made))
        changes = store.stage(self.area(context, progress), pairs) if pairs else []
        return Prepared(changes=changes, progress=_counted(progress, page, changes), size=page.size)


def _counted(progress: Progress, page: Any, changes: Sequence[Change]) -> Progress:
    inserted = sum(change.before is None for change in changes)
    return _advanced(
        progress, len(page.records), page.cursor, page.last, written=len(changes), inserted=inserted
    )
