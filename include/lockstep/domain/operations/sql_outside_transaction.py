"""SQL that PostgreSQL refuses to run inside a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import Statements, expect_database, statements_of, touched_of
from lockstep.domain.resources import Postgres, Table


@dataclass(frozen=True)
class SqlOutsideTransaction(Statements):
    verb: ClassVar[str] = "sql_outside_transaction"
    at: Postgres
    statements: tuple[str, ...]
    touches: tuple[Table, ...] | None = None
    reverse: tuple[str, ...] | None = None
    lock_timeout: float = 300.0

    @property
    def fits_in_transaction(self) -> bool:
        return False


def sql_outside_transaction(
    database: Postgres,
    *statements: str,
    touches: Sequence[Table] | Table | None = None,
    reverse: str | Sequence[str] | None = None,
    lock_timeout: float = 300.0,
) -> SqlOutsideTransaction:
    """Run SQL statements one by one, each outside a transaction, such as CREATE INDEX CONCURRENTLY.

    An index that such a statement leaves INVALID is dropped, concurrently, and built again at the next
    attempt. Other statements must be safe to run twice (IF NOT EXISTS): nothing rolls them back.
    `lock_timeout`: seconds; a short one would kill a concurrent build that only waits for old snapshots.
    """
    verb = "sql_outside_transaction"
    expect_database(verb, database, Postgres)
    texts = statements_of(verb, "statements", statements)
    back = None if reverse is None else statements_of(verb, "reverse", reverse)
    if not lock_timeout > 0:
        raise OperationError(f"ops.{verb}: lock_timeout must be above zero.", verb=verb)
    tables = touched_of(verb, database, touches)
    return SqlOutsideTransaction(database, texts, tables, back, float(lock_timeout))  # type: ignore[arg-type]
