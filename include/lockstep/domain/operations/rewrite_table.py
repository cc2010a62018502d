"""A table written anew in one pass and swapped in, while the application is down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import OnTable, WayBack, expect_kind
from lockstep.domain.resources import Table


@dataclass(frozen=True)
class RewriteTable(OnTable):
    verb: ClassVar[str] = "rewrite_table"
    table: Table
    set: Mapping[str, str]

    @property
    def way_back(self) -> WayBack:
        return WayBack.PARKED

    def describe(self) -> str:
        changes = ", ".join(f"{column} = {expression}" for column, expression in self.set.items())
        return f"write {self.table} anew with {changes}, swap it in, and park the old one"


def _expressions(given: object) -> dict[str, str]:
    if (
        not isinstance(given, Mapping)
        or not given
        or any(not isinstance(k, str) or not isinstance(v, str) or not v.strip() for k, v in given.items())
    ):
        raise OperationError(
            "ops.rewrite_table: set maps column names to SQL expressions, "
            f"such as {{'email_lower': 'lower(email)'}}; got {given!r}.",
            verb="rewrite_table",
        )
    for column, expression in given.items():
        if expression.strip().upper() == "DEFAULT":
            raise OperationError(
                f"ops.rewrite_table: DEFAULT is no expression; write out what column {column!r} should hold.",
                verb="rewrite_table",
            )
    return dict(given)


def rewrite_table(table: Table, set: Mapping[str, str], *, downtime: bool = False) -> RewriteTable:
    """Write every row of a table anew by SQL expressions, in one pass, and swap the new table in.

    `set`: column → SQL expression over the row's columns. `downtime`: must be True, which says that the
    application is down: nobody writes to the table while it is filled. The old table is parked, and
    `ops.restore(table)` swaps it back. Raises OperationError without the word.
    """
    expect_kind("rewrite_table", table, Table)
    if downtime is not True:
        raise OperationError(
            f"ops.rewrite_table holds up whoever writes to {table} until it is done, so it is for a time when "
            "the application is down: say downtime=True. To change rows while it is up, use ops.update_rows.",
            verb="rewrite_table",
        )
    return RewriteTable(table, _expressions(set))
