"""A table dropped, that is parked until housekeeping removes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.operations.base import OnTable, WayBack, expect_kind
from lockstep.domain.resources import Table


@dataclass(frozen=True)
class DropTable(OnTable):
    verb: ClassVar[str] = "drop_table"
    table: Table

    @property
    def way_back(self) -> WayBack:
        return WayBack.PARKED

    def describe(self) -> str:
        return f"park {self.table}, with its data, indexes and constraints, in schema lockstep_parked"


def drop_table(table: Table) -> DropTable:
    """Take a table out of use: it is parked with its data, and `ops.restore(table)` takes it back."""
    expect_kind("drop_table", table, Table)
    return DropTable(table)
