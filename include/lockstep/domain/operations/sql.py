"""SQL statements in one transaction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.locking import PATIENCE
from lockstep.domain.operations.base import Statements, expect_database, statements_of, touched_of
from lockstep.domain.resources import Postgres, Table

_NEEDS_NO_TRANSACTION = re.compile(
    r"^\s*(create\s+(unique\s+)?index\s+concurrently|drop\s+index\s+concurrently|reindex\b.*\bconcurrently"
    r"|vacuum\b|create\s+database|drop\s+database|alter\s+system|create\s+tablespace)",
    re.IGNORECASE,
)
_CONTROLS_TRANSACTION = re.compile(
    r"^\s*(begin|commit|end|rollback|abort|start\s+transaction|savepoint)\b", re.IGNORECASE
)


@dataclass(frozen=True)
class Sql(Statements):
    verb: ClassVar[str] = "sql"
    at: Postgres
    statements: tuple[str, ...]
    touches: tuple[Table, ...] | None = None
    reverse: tuple[str, ...] | None = None
    #: seconds; None for what the words of each statement ask for
    lock_timeout: float | None = None
    #: None for as many as the patience allows
    attempts: int | None = None
    #: seconds that it goes on asking for locks
    patience: float = PATIENCE


def sql(
    database: Postgres,
    *statements: str,
    touches: Sequence[Table] | Table | None = None,
    reverse: str | Sequence[str] | None = None,
    lock_timeout: float | None = None,
    attempts: int | None = None,
    patience: float = PATIENCE,
) -> Sql:
    """Run SQL statements in one transaction: all of them, or none.

    `touches`: the tables that they change; without it the whole database is backed up and compared.
    `reverse`: statements that take these back after a failure; without it those of `downgrade()` do.
    `lock_timeout`: seconds to wait for a lock before the transaction gives way; without it 2 for statements
    that make others queue (ALTER TABLE, DROP, TRUNCATE, CREATE INDEX, …), and 60 for those that wait for rows.
    `patience`: seconds that it is tried again for, `attempts` times at most where that is given.
    """
    expect_database("sql", database, Postgres)
    texts = statements_of("sql", "statements", statements)
    back = None if reverse is None else statements_of("sql", "reverse", reverse)
    for text in texts + (back or ()):
        if _NEEDS_NO_TRANSACTION.match(text):
            raise OperationError(
                f"ops.sql runs in a transaction, and this cannot: {text!r}. Use ops.sql_outside_transaction.",
                verb="sql",
            )
        if _CONTROLS_TRANSACTION.match(text):
            raise OperationError(f"ops.sql begins and commits by itself; take out {text!r}.", verb="sql")
    for name, given in (("lock_timeout", lock_timeout), ("attempts", attempts), ("patience", patience)):
        if given is not None and not given > 0:
            raise OperationError(f"ops.sql: {name} must be above zero, got {given!r}.", verb="sql")
    tables = touched_of("sql", database, touches)
    return Sql(database, texts, tables, back, lock_timeout, attempts, patience)  # type: ignore[arg-type]
