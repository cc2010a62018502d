"""Move objects to other keys, or out of use."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lockstep.domain.errors import DataError, RecordError
from lockstep.domain.operations.base import function_name
from lockstep.domain.operations.drop_objects import DropObjects
from lockstep.domain.operations.move_objects import KeyFunction, MoveObjects
from lockstep.domain.progress import KeyRange, Progress
from lockstep.domain.resources import RESERVED, Prefix
from lockstep.engine.context import StepContext
from lockstep.engine.failing import Failing
from lockstep.engine.functions import call_key
from lockstep.engine.journaled import Prepared, run_journaled
from lockstep.engine.operations.documents import known_progress
from lockstep.engine.operations.handler import ObjectHandler, object_store
from lockstep.engine.services import Services


class _Moving(ObjectHandler):
    """The verbs that give objects another key."""

    def plan(self, services: Services, operation: Any, shards: int) -> list[KeyRange]:
        return services.objects(operation.prefix.database).plan_ranges(
            operation.prefix, suffix="", shards=shards, least=services.settings.objects_per_shard
        )

    def forward(self, context: StepContext, operation: Any) -> Progress:
        return run_journaled(context, self, known_progress(context), operation.title)

    @abstractmethod
    def prepare(self, context: StepContext, progress: Progress) -> Prepared: ...

    def move_page(
        self, context: StepContext, progress: Progress, prefix: Prefix, to: Callable[[str], str]
    ) -> Prepared:
        store = object_store(context, context.operation)
        page = store.keys(
            prefix,
            suffix="",
            within=context.within,
            after=progress.cursor,
            limit=context.limit,
            excluding=context.excluding,
        )
        failing = Failing(str(prefix))
        moves: list[tuple[str, str]] = []
        for key in page.records:
            try:
                moves.append((key, to(key)))
            except DataError as problem:
                failing.add(key, store.cursor_of(key), problem)
        failing.check()
        changing = [(source, target) for source, target in moves if source != target]
        return Prepared(
            changes=store.stage_moves(changing) if changing else [],
            progress=replace(
                progress,
                cursor=page.cursor if page.cursor is not None else progress.cursor,
                read=progress.read + len(moves),
                written=progress.written + len(changing),
                done=page.last,
            ),
        )


class MoveObjectsHandler(_Moving):
    def prepare(self, context: StepContext, progress: Progress) -> Prepared:
        operation = context.operation
        assert isinstance(operation, MoveObjects)
        prefix, target, rename = operation.prefix, operation.to, operation.rename

        def to(key: str) -> str:
            rest = key[len(prefix.name) :]
            if rename is None:
                return target.name + rest
            made = call_key(rename, rest, str(prefix))
            if target == prefix:
                _refuse_unsettled(rename, rest, made, str(prefix))
            return target.name + made

        return self.move_page(context, progress, prefix, to)


def _refuse_unsettled(rename: KeyFunction, rest: str, made: str, resource: str) -> None:
    """Raise RecordError for a name that would be changed again where its object is met again.

    Pages go on by key: within one prefix, what moves to a later key or into another shard's range is listed anew.
    """
    try:
        again = call_key(rename, made, resource)
    except DataError:
        told = "an error"
    else:
        told = repr(again)
        if again == made:
            return
    raise RecordError(
        resource=resource,
        key=rest,
        problem=f"{function_name(rename)}() makes {made!r} of it and {told} of that, and what moves within one prefix "
        "is met again.",
        fix="let the function leave what it has renamed as it is, or move to another prefix.",
    )


class DropObjectsHandler(_Moving):
    def prepare(self, context: StepContext, progress: Progress) -> Prepared:
        operation = context.operation
        assert isinstance(operation, DropObjects)
        home = f"{RESERVED}/parked/{context.run.id}/{context.step:03}/"
        return self.move_page(context, progress, operation.prefix, lambda key: home + key)
