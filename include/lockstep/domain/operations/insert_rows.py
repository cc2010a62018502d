"""Reference rows, inserted by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import OnTable, expect_kind
from lockstep.domain.resources import Table


@dataclass(frozen=True)
class InsertRows(OnTable):
    verb: ClassVar[str] = "insert_rows"
    table: Table
    rows: tuple[Mapping[str, Any], ...]

    def describe(self) -> str:
        return f"insert {len(self.rows)} row(s) by key into {self.table}, where they are missing"


def insert_rows(table: Table, rows: Iterable[Mapping[str, Any]]) -> InsertRows:
    """Insert rows whose key is not there yet; rows that are there stay as they are.

    `rows`: mappings of column to value, each with every primary key column.
    The way back removes the rows that it inserted, and only those.
    """
    expect_kind("insert_rows", table, Table)
    given = tuple(rows)
    for row in given:
        if not isinstance(row, Mapping) or not row:
            raise OperationError(
                f"ops.insert_rows({table.slug}): each row is a mapping of column to value, got {row!r}.",
                verb="insert_rows",
            )
    return InsertRows(table, tuple(dict(row) for row in given))
