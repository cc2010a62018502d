"""Structural changes of collections: created, indexed, validated, parked.

Each keeps what was there before in the journal, so that its way back is exact.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from lockstep.domain.operations.base import Operation
from lockstep.domain.operations.create_collection import CreateCollection
from lockstep.domain.operations.create_index import CreateIndex
from lockstep.domain.operations.drop_collection import DropCollection
from lockstep.domain.operations.drop_index import DropIndex
from lockstep.domain.operations.set_validator import SetValidator
from lockstep.domain.progress import Change, KeyRange, Progress
from lockstep.domain.resources import RESERVED
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done
from lockstep.engine.journaled import images, journal
from lockstep.engine.operations.handler import WHOLE, document_store
from lockstep.engine.ports import DocumentStore
from lockstep.engine.services import Services


class StructureHandler(ABC):
    """A verb that changes what a collection is, in one stroke that may be repeated."""

    def plan(self, services: Services, operation: Operation, shards: int) -> list[KeyRange]:
        return WHOLE

    @abstractmethod
    def look(self, context: StepContext, store: DocumentStore, operation: Any) -> Mapping[str, Any]:
        """Return what the way back needs to know."""

    @abstractmethod
    def change(self, store: DocumentStore, operation: Any, former: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def change_back(
        self, context: StepContext, store: DocumentStore, operation: Any, former: Mapping[str, Any]
    ) -> None: ...

    def forward(self, context: StepContext, operation: Any) -> Progress:
        store = document_store(context, operation)
        done = Progress(batches=1, read=1, written=1, done=True)
        ledger, fence = context.services.ledger, context.fence
        entries = ledger.batches(fence.run_id, fence.phase, fence.step, fence.shard)
        if entries:
            entry = entries[0]
            former = _unpacked(store, images(context, entry))
        else:
            former = dict(self.look(context, store, operation))
            entry = journal(context, store.pack([Change(key="former", before=former, after=None)]), done)
        if entry.state == "won":
            context.services.reached("batch journaled")
            context.log.info(operation.describe())
            # Nothing else guards it: a worker that was frozen, taken over and taken back would do it once more.
            context.still_ours(asked_before=False)
            self.change(store, operation, former)
            context.services.reached("batch written")
            ledger.close_batch(fence, entry, "applied")
        ledger.save(fence, done)
        return done

    def back(self, context: StepContext, done: Done) -> Progress:
        store = document_store(context, done.operation)
        ledger = context.services.ledger
        for entry in reversed(ledger.batches(done.run_id, "upgrade", done.step)):
            if entry.state == "undone":
                continue
            context.log.info(f"taking back: {done.operation.describe()}")
            context.still_ours(asked_before=False)
            self.change_back(context, store, done.operation, _unpacked(store, images(context, entry)))
            context.services.reached("batch taken back")
            ledger.set_batch_state(done.run_id, "upgrade", entry, "undone")
        progress = Progress(batches=1, read=1, written=1, done=True)
        ledger.save(context.fence, progress)
        return progress


class CreateCollectionHandler(StructureHandler):
    def look(
        self, context: StepContext, store: DocumentStore, operation: CreateCollection
    ) -> Mapping[str, Any]:
        return {"there": store.exists(operation.collection)}

    def change(self, store: DocumentStore, operation: CreateCollection, former: Mapping[str, Any]) -> None:
        if not former["there"]:
            store.create_collection(operation.collection, operation.validator)

    def change_back(
        self,
        context: StepContext,
        store: DocumentStore,
        operation: CreateCollection,
        former: Mapping[str, Any],
    ) -> None:
        if former["there"] or not store.exists(operation.collection):
            return
        held = store.count(operation.collection)
        if not held:
            store.drop(operation.collection)
            return
        # Whatever came into it since is nobody's park: a name of this run's own.
        parked = _parked(context.run.id, operation)
        context.log.warning(f"{operation.collection} holds {held} document(s); it is parked as {parked}")
        store.park(operation.collection, parked)


class CreateIndexHandler(StructureHandler):
    def look(self, context: StepContext, store: DocumentStore, operation: CreateIndex) -> Mapping[str, Any]:
        return {"there": store.index_on(operation.collection, operation.keys) is not None}

    def change(self, store: DocumentStore, operation: CreateIndex, former: Mapping[str, Any]) -> None:
        if not former["there"]:
            store.create_index(operation.collection, operation.keys, operation.name, operation.options)

    def change_back(
        self, context: StepContext, store: DocumentStore, operation: CreateIndex, former: Mapping[str, Any]
    ) -> None:
        if not former["there"] and store.index_on(operation.collection, operation.keys) is not None:
            store.drop_index(operation.collection, operation.keys)


class DropIndexHandler(StructureHandler):
    def look(self, context: StepContext, store: DocumentStore, operation: DropIndex) -> Mapping[str, Any]:
        return {"index": store.index_on(operation.collection, operation.keys)}

    def change(self, store: DocumentStore, operation: DropIndex, former: Mapping[str, Any]) -> None:
        if former["index"] is not None and store.index_on(operation.collection, operation.keys) is not None:
            store.drop_index(operation.collection, operation.keys)

    def change_back(
        self, context: StepContext, store: DocumentStore, operation: DropIndex, former: Mapping[str, Any]
    ) -> None:
        index = former["index"]
        if index is None or store.index_on(operation.collection, operation.keys) is not None:
            return
        options = {name: value for name, value in index.items() if name not in ("v", "key", "name", "ns")}
        store.create_index(operation.collection, operation.keys, index["name"], options)


class SetValidatorHandler(StructureHandler):
    def look(self, context: StepContext, store: DocumentStore, operation: SetValidator) -> Mapping[str, Any]:
        if not store.keeps_validators():
            context.log.warning(f"this server keeps no validators: nothing is set on {operation.collection}")
            return {"kept": False}
        return {"kept": True, "validator": dict(store.validator(operation.collection))}

    def change(self, store: DocumentStore, operation: SetValidator, former: Mapping[str, Any]) -> None:
        if former["kept"]:
            store.set_validator(operation.collection, operation.validator)

    def change_back(
        self, context: StepContext, store: DocumentStore, operation: SetValidator, former: Mapping[str, Any]
    ) -> None:
        if former["kept"] and store.exists(operation.collection):
            store.set_validator(operation.collection, former["validator"])


class DropCollectionHandler(StructureHandler):
    def look(
        self, context: StepContext, store: DocumentStore, operation: DropCollection
    ) -> Mapping[str, Any]:
        parked = _parked(f"{context.revision.id}_{context.step}", operation)
        # Still taken where a restore, and not a downgrade, brought the collection back.
        if parked in {one.parked_as for one in store.parked()}:
            parked = _parked(context.run.id, operation)
        return {"there": store.exists(operation.collection), "parked": parked}

    def change(self, store: DocumentStore, operation: DropCollection, former: Mapping[str, Any]) -> None:
        if former["there"]:
            store.park(operation.collection, former["parked"])

    def change_back(
        self, context: StepContext, store: DocumentStore, operation: DropCollection, former: Mapping[str, Any]
    ) -> None:
        if former["there"]:
            store.unpark(operation.collection, former["parked"])


def _unpacked(store: DocumentStore, packed: bytes) -> Mapping[str, Any]:
    former: Mapping[str, Any] = store.unpack(packed)[0].before
    return former


def _parked(mark: str, operation: CreateCollection | DropCollection) -> str:
    """Return a reserved name of letters, digits and underscores: some servers take no others."""
    return re.sub(r"[^A-Za-z0-9_]", "_", f"{RESERVED}_parked_{mark}_{operation.collection.name}")
