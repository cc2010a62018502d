"""Run SQL outside a transaction, statement by statement."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lockstep.domain.locking import lock_timeout_of
from lockstep.domain.operations.sql_outside_transaction import SqlOutsideTransaction
from lockstep.domain.progress import KeyRange, Progress
from lockstep.engine.context import StepContext
from lockstep.engine.done import Done
from lockstep.engine.operations.handler import WHOLE, table_store
from lockstep.engine.operations.sql import take_statements_back
from lockstep.engine.operations.statements import run_outside
from lockstep.engine.patience import Patience, patiently
from lockstep.engine.services import Services


class SqlOutsideTransactionHandler:
    def plan(self, services: Services, operation: SqlOutsideTransaction, shards: int) -> list[KeyRange]:
        return WHOLE

    def forward(self, context: StepContext, operation: SqlOutsideTransaction) -> Progress:
        """Run what the checkpoint does not count yet; a statement cut off by a crash runs again."""
        store = table_store(context, operation)
        progress = store.claim(context.fence)
        for place, statement in enumerate(operation.statements):
            if place < progress.batches:
                continue
            context.alive()
            context.log.info(" ".join(statement.split()))
            run_outside(context, store, operation, statement)
            context.services.reached("batch written")
            progress = replace(
                progress,
                batches=place + 1,
                read=place + 1,
                written=place + 1,
                done=place + 1 == len(operation.statements),
            )
            with store.unit(context.fence) as unit:
                unit.advance(progress)
            context.services.ledger.save(context.fence, progress)
        context.services.ledger.save(context.fence, progress)
        return progress

    def back(self, context: StepContext, done: Done) -> Progress:
        self._drop_unfinished(context, done)
        return take_statements_back(context, done)

    def _drop_unfinished(self, context: StepContext, done: Done) -> None:
        """Drop what the first statement that the checkpoint does not count may have left."""
        operation = done.operation
        assert isinstance(operation, SqlOutsideTransaction)
        store = table_store(context, operation)
        counted = max((shard.progress.batches for shard in done.shards), default=0)
        for statement in operation.statements[counted : counted + 1]:
            timeout = lock_timeout_of(statement, operation.lock_timeout)
            patience = Patience(seconds=operation.patience_for(statement))
            if patiently(context, patience, partial(store.drop_unfinished, statement, lock_timeout=timeout)):
                context.log.info(
                    f"dropped the index that this left unfinished: {' '.join(statement.split())}"
                )
