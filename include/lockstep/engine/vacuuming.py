"""Vacuum a table while batches update it, so that the room of dead rows is used again and it does not double."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from lockstep.domain.errors import LockstepError
from lockstep.domain.resources import Table
from lockstep.engine.context import StepContext
from lockstep.engine.ports import TableStore

#: vacuum after this share of the table was written by all its shards together, and not before so many rows
SHARE = 0.05
LEAST = 50_000


class Vacuuming:
    """One shard's part, in a thread beside its batches: another shard's vacuum at the same time is passed by."""

    def __init__(self, context: StepContext, store: TableStore, table: Table | None) -> None:
        self._context = context
        self._store = store
        self._table = table if context.settings.vacuum else None
        # Its part of that: of those that come at the same time one vacuums, and the others pass it by.
        self._every = max(LEAST, round((context.expected or 0) * SHARE)) // max(1, context.beside)
        #: rows written in total when a vacuum last began
        self._written = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lockstep-vacuum")
        self._running: Future[bool] | None = None

    def __enter__(self) -> Vacuuming:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Its connection is not to outlive the shard.
        self._pool.shutdown(wait=True)
        self._ended()

    def after(self, written: int) -> None:
        """Begin a vacuum once enough was written since the last one began; `written`: rows in total."""
        if self._table is None or written - self._written < self._every:
            return
        if self._running is not None and not self._running.done():
            return
        self._ended()
        if self._table is not None:
            self._written = written
            self._running = self._pool.submit(self._store.vacuum, self._table)

    def _ended(self) -> None:
        """Take in how the last one ended; one that failed was the last."""
        ended, self._running = self._running, None
        if ended is None:
            return
        try:
            ended.result()
        except LockstepError as problem:
            self._context.log.warning(
                f"{self._table} could not be vacuumed, which costs space only: {problem}"
            )
            self._table = None
