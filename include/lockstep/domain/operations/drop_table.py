"""A table dropped, that is parked until housekeeping removes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.operations.base import Operation, WayBack, expect_kind
from lockstep.domain.resources import Postgres, Table


@dataclass(frozen=True)
class DropTable(Operation):
    verb: ClassVar[str] = "drop_table"
    table: Table

    @property
    def database(self) -> Postgres:
        return self.table.database

    @property
    def writes(self) -> tuple[Table, ...]:
        return (self.table,)

    @property
    def way_back(self) -> WayBack:
        return WayBack.PARKED

    def describe(self) -> str:
        return f"park {self.table}, with its data, indexes and constraints, in schema lockstep_parked"


def drop_table(table: Table) -> DropTable:
    """Take a table out of use: it is parked with its data, and `ops.restore(table)` takes it back."""
    expect_kind("drop_table", table, Table)
    return DropTable(table)
