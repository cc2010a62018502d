"""Rows transformed by a Python function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import OnTable, WayBack, expect_function, expect_kind, function_name
from lockstep.domain.resources import Table

RowFunction = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class TransformRows(OnTable):
    verb: ClassVar[str] = "transform_rows"
    batched: ClassVar[bool] = True
    table: Table
    function: RowFunction
    columns: tuple[str, ...] | None = None
    where: str | None = None
    reverse: RowFunction | None = None

    @property
    def way_back(self) -> WayBack:
        return WayBack.INVERSE if self.reverse else WayBack.JOURNAL

    def describe(self) -> str:
        columns = ", ".join(self.columns) if self.columns else "all columns"
        return f"{function_name(self.function)}() over {columns} of every row of {self.table}" + (
            f" where {self.where}" if self.where else ""
        )


def transform_rows(
    table: Table,
    function: RowFunction,
    *,
    columns: Sequence[str] | None = None,
    where: str | None = None,
    reverse: RowFunction | None = None,
) -> TransformRows:
    """Give each row to `function` as a dict and write what it returns, where that differs.

    `columns`: what the function reads and may change, besides the key, which it also sees and must not
    change; fewer columns are faster. `where`: an SQL condition on the rows.
    `reverse`: a function that undoes it exactly, row by row; without it the former values are kept in the
    journal, in the same transaction, and put back from there.
    """
    expect_kind("transform_rows", table, Table)
    expect_function("transform_rows", "function", function)
    if reverse is not None:
        expect_function("transform_rows", "reverse", reverse)
    if reverse is not None and where is not None:
        raise OperationError(
            "ops.transform_rows: with where=, nothing would tell reverse= which rows were changed. Leave reverse out: "
            "the journal remembers them.",
            verb="transform_rows",
        )
    if isinstance(columns, str) or (columns is not None and not all(isinstance(c, str) for c in columns)):
        raise OperationError(
            "ops.transform_rows: columns is a list of column names, such as ['email'].", verb="transform_rows"
        )
    return TransformRows(table, function, None if columns is None else tuple(columns), where, reverse)
