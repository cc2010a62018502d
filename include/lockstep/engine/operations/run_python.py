"""Call a Python function of the revision's own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from lockstep.domain.errors import DataError, LockstepError, UndoFailed
from lockstep.domain.operations.base import function_name
from lockstep.domain.operations.run_python import NoReverse, RunPython
from lockstep.domain.progress import KeyRange, Progress
from lockstep.domain.resources import Bucket, Collection, Mongo, Postgres, Prefix, Resource, Table
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done
from lockstep.engine.operations.handler import WHOLE
from lockstep.engine.services import Services


class Hands:
    """What a revision's function reaches the databases with, while it is called."""

    def __init__(self, services: Services, stack: ExitStack) -> None:
        self._services = services
        self._stack = stack
        self._open: dict[Any, Any] = {}

    def open(self, resource: Resource | Postgres | Mongo | Bucket) -> Any:
        """Return a psycopg Connection, a pymongo Collection, or (boto3 S3 client, bucket name).

        The connection's transaction commits when the function returns, and rolls back when it raises.
        """
        if isinstance(resource, Collection):
            return self._services.documents(resource.database).handle(resource)
        database = resource.database if isinstance(resource, (Table, Prefix)) else resource
        if isinstance(database, Bucket):
            return self._services.objects(database).handle()
        if isinstance(database, Postgres):
            if database not in self._open:
                self._open[database] = self._stack.enter_context(self._services.tables(database).handle())
            return self._open[database]
        raise DataError(f"hands.open needs a Table, Collection or Prefix of resources.py, got {resource!r}.")


def call_with_hands(services: Services, function: Callable[[Any], Any]) -> Any:
    """Call `function(hands)`; DataError says what it raised."""
    with ExitStack() as stack:
        try:
            return function(Hands(services, stack))
        except LockstepError:
            raise
        except Exception as problem:
            raise DataError(
                f"{function_name(function)}() raised {type(problem).__name__}: {problem}. Mend the function; what "
                "its PostgreSQL connections had not committed is rolled back.",
                function=function_name(function),
            ) from problem


class RunPythonHandler:
    def plan(self, services: Services, operation: RunPython, shards: int) -> list[KeyRange]:
        return WHOLE

    def forward(self, context: StepContext, operation: RunPython) -> Progress:
        context.log.info(operation.describe())
        # Said before it begins: whatever then happens, the function may have had an effect.
        context.services.ledger.save(context.fence, Progress(batches=1))
        call_with_hands(context.services, operation.function)
        return self._done(context)

    def back(self, context: StepContext, done: Done) -> Progress:
        operation = done.operation
        assert isinstance(operation, RunPython)
        if not any(shard.progress.batches for shard in done.shards):
            context.log.info(f"{operation.title} had not begun: nothing to take back")
            return self._done(context)
        if isinstance(operation.reverse, NoReverse):
            raise UndoFailed(
                f"step {done.step} ({operation.title}) has no way back, by its author's word. Undo it by hand, or "
                f"restore the backup of run {done.run_id}.",
                step=done.step,
            )
        context.log.info(f"taking back: {function_name(operation.reverse)}()")
        call_with_hands(context.services, operation.reverse)
        return self._done(context)

    def _done(self, context: StepContext) -> Progress:
        progress = Progress(batches=1, read=1, written=1, done=True)
        context.services.ledger.save(context.fence, progress)
        return progress
