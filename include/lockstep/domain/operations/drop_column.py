"""A column dropped, that is parked until housekeeping removes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import OnTable, WayBack, expect_kind
from lockstep.domain.resources import Table


@dataclass(frozen=True)
class DropColumn(OnTable):
    verb: ClassVar[str] = "drop_column"
    table: Table
    column: str

    @property
    def way_back(self) -> WayBack:
        return WayBack.PARKED

    @property
    def title(self) -> str:
        return f"drop_column {self.table.slug}.{self.column}"

    def describe(self) -> str:
        return f"park column {self.column} of {self.table} under a reserved name, with its data"


def drop_column(table: Table, column: str) -> DropColumn:
    """Take a column out of use: it is renamed and made nullable, and `ops.restore(table)` takes it back."""
    expect_kind("drop_column", table, Table)
    if not isinstance(column, str) or not column:
        raise OperationError("ops.drop_column: column must be a column's name.", verb="drop_column")
    return DropColumn(table, column)
