"""Set-based row updates by key range."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import OnTable, WayBack, expect_kind
from lockstep.domain.resources import Table


@dataclass(frozen=True)
class UpdateRows(OnTable):
    verb: ClassVar[str] = "update_rows"
    batched: ClassVar[bool] = True
    table: Table
    set: Mapping[str, str]
    where: str | None = None
    reverse: Mapping[str, str] | None = None

    @property
    def way_back(self) -> WayBack:
        return WayBack.INVERSE if self.reverse else WayBack.JOURNAL

    def describe(self) -> str:
        changes = ", ".join(f"{column} = {expression}" for column, expression in self.set.items())
        return f"update {self.table} set {changes}" + (f" where {self.where}" if self.where else "")


def _assignments(argument: str, given: object) -> dict[str, str]:
    if (
        not isinstance(given, Mapping)
        or not given
        or any(not isinstance(k, str) or not isinstance(v, str) for k, v in given.items())
    ):
        raise OperationError(
            f"ops.update_rows: {argument} maps column names to SQL expressions, "
            f"such as {{'display_name': 'name'}}; got {given!r}.",
            verb="update_rows",
        )
    return dict(given)


def update_rows(
    table: Table,
    set: Mapping[str, str],
    *,
    where: str | None = None,
    reverse: Mapping[str, str] | None = None,
) -> UpdateRows:
    """Update rows by SQL expressions, in batches by key range.

    `set`: column → SQL expression over the row's columns. `where`: an SQL condition over them.
    `reverse`: column → expression that undoes it exactly on a row that it changed; without it the former
    values are kept in the journal, in the same transaction, and put back from there.
    """
    expect_kind("update_rows", table, Table)
    if reverse is not None and where is not None:
        raise OperationError(
            "ops.update_rows: with where=, nothing would tell reverse= which rows were changed. Leave reverse out: "
            "the journal remembers them.",
            verb="update_rows",
        )
    back = None if reverse is None else _assignments("reverse", reverse)
    return UpdateRows(table, _assignments("set", set), where, back)
