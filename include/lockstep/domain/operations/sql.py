"""SQL statements in one transaction."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.errors import OperationError
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
    lock_timeout: float = 5.0
    attempts: int = 5


def sql(
    database: Postgres,
    *statements: str,
    touches: Sequence[Table] | Table | None = None,
    reverse: str | Sequence[str] | None = None,
    lock_timeout: float = 5.0,
    attempts: int = 5,
) -> Sql:
    """Run SQL statements in one transaction: all of them, or none.

    `touches`: the tables that they change; without it the whole database is backed up and compared.
    `reverse`: statements that take these back after a failure; without it those of `downgrade()` do.
    `lock_timeout`: seconds to wait for a lock before giving way; tried `attempts` times in all.
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
    if not lock_timeout > 0 or attempts < 1:
        raise OperationError("ops.sql: lock_timeout and attempts must be above zero.", verb="sql")
    tables = touched_of("sql", database, touches)
    return Sql(database, texts, tables, back, float(lock_timeout), attempts)  # type: ignore[arg-type]
