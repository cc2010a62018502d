"""Vacuum a table while batches update it, so that the room of dead rows is used again and it does not double."""

from __future__ import annotations

from lockstep.domain.errors import LockstepError
from lockstep.domain.resources import Table
from lockstep.engine.context import StepContext
from lockstep.engine.ports import TableStore

#: vacuum after this share of the table was written by all its shards together, and not before so many rows
SHARE = 0.05
LEAST = 50_000


class Vacuuming:
    """One shard's part: another's vacuum at the same time is passed by."""

    def __init__(self, context: StepContext, store: TableStore, table: Table | None) -> None:
        self._context = context
        self._store = store
        self._table = table if context.settings.vacuum else None
        # Its part of that: of those that come at the same time one vacuums, and the others pass it by.
        self._every = max(LEAST, round((context.expected or 0) * SHARE)) // max(1, context.beside)
        #: rows written in total when it was vacuumed last
        self._written = 0

    def after(self, written: int) -> None:
        """Vacuum once enough was written since the last time; `written`: rows in total."""
        if self._table is None or written - self._written < self._every:
            return
        try:
            self._store.vacuum(self._table)
        except LockstepError as problem:
            self._context.log.warning(
                f"{self._table} could not be vacuumed, which costs space only: {problem}"
            )
            self._table = None
        self._written = written
