"""SQL that PostgreSQL refuses to run inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.locking import CONCURRENT_PATIENCE, PATIENCE, Locks, locks_of
from lockstep.domain.operations.base import Statements, expect_database, statements_of, touched_of
from lockstep.domain.resources import Postgres, Table


@dataclass(frozen=True)
class SqlOutsideTransaction(Statements):
    verb: ClassVar[str] = "sql_outside_transaction"
    at: Postgres
    statements: tuple[str, ...]
    touches: tuple[Table, ...] | None = None
    reverse: tuple[str, ...] | None = None
    #: seconds; None for what the words of each statement ask for
    lock_timeout: float | None = None
    #: seconds that each statement goes on asking for locks; None likewise
    patience: float | None = None

    def patience_for(self, statement: str) -> float:
        """Return how many seconds a statement is tried again for."""
        if self.patience is not None:
            return self.patience
        return PATIENCE if locks_of(statement) is Locks.STRONG else CONCURRENT_PATIENCE

    @property
    def fits_in_transaction(self) -> bool:
        return False


def sql_outside_transaction(
    database: Postgres,
    *statements: str,
    touches: Sequence[Table] | Table | None = None,
    reverse: str | Sequence[str] | None = None,
    lock_timeout: float | None = None,
    patience: float | None = None,
) -> SqlOutsideTransaction:
    """Run SQL statements one by one, each outside a transaction, such as CREATE INDEX CONCURRENTLY.

    An index that such a statement leaves INVALID is dropped, concurrently, and built again at the next
    attempt. Other statements must be safe to run twice (IF NOT EXISTS): nothing rolls them back.
    `lock_timeout`: seconds; without it 300 for what runs CONCURRENTLY, since a short one would kill a build
    that only waits for old snapshots and holds nobody up, and 2 for statements that make others queue.
    `patience`: seconds that a statement is tried again for; without it an hour, or ten minutes.
    """
    verb = "sql_outside_transaction"
    expect_database(verb, database, Postgres)
    texts = statements_of(verb, "statements", statements)
    back = None if reverse is None else statements_of(verb, "reverse", reverse)
    for name, given in (("lock_timeout", lock_timeout), ("patience", patience)):
        if given is not None and not given > 0:
            raise OperationError(f"ops.{verb}: {name} must be above zero, got {given!r}.", verb=verb)
    tables = touched_of(verb, database, touches)
    return SqlOutsideTransaction(database, texts, tables, back, lock_timeout, patience)  # type: ignore[arg-type]
