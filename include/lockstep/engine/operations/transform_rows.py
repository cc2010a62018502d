"""Transform rows by a Python function, range by range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from lockstep.domain.errors import BadRecords, RecordError
from lockstep.domain.operations.transform_rows import RowFunction, TransformRows
from lockstep.domain.progress import KeyRange, Progress
from lockstep.domain.quarantine import Quarantined
from lockstep.domain.resources import Table
from lockstep.engine.context import StepContext
from lockstep.engine.functions import call_row
from lockstep.engine.operations.by_key import ByKeyRange
from lockstep.engine.ports import TableUnit


class TransformRowsHandler(ByKeyRange):
    def sweep(
        self,
        context: StepContext,
        operation: TransformRows,
        unit: TableUnit,
        progress: Progress,
        within: KeyRange,
        *,
        inverse: bool,
    ) -> Progress:
        table = operation.table
        function = operation.reverse if inverse and operation.reverse else operation.function
        # Asked of the unit: in an atomic revision nobody else sees the table yet.
        key = unit.keys_of(table)
        page = unit.read_locked(
            table,
            columns=operation.columns,
            where=None if inverse else operation.where,
            within=within,
            after=progress.cursor,
            limit=context.limit,
            excluding=context.excluding,
        )
        pairs = transformed(function, page.records, key, unit, table)
        written = unit.write_rows(table, pairs, journal=operation.reverse is None) if pairs else 0
        return replace(
            progress,
            cursor=page.cursor if page.cursor is not None else progress.cursor,
            batches=progress.batches + 1,
            read=progress.read + len(page.records),
            written=progress.written + written,
            done=page.last,
        )


def transformed(
    function: RowFunction,
    rows: Sequence[dict[str, Any]],
    key: Sequence[str],
    unit: TableUnit,
    table: Table,
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return each row and what the function makes of it; BadRecords names all that it fails on."""
    pairs, failed = [], []
    resource = str(table)
    for row in rows:
        try:
            pairs.append((row, call_row(function, row, key, resource)))
        except RecordError as problem:
            failed.append((row, problem))
    if failed:
        raise BadRecords(
            resource=resource,
            records=tuple(
                Quarantined(
                    key=unit.cursor_of(table, row),
                    shown=repr(problem.key),
                    error=f"{problem.problem} Fix: {problem.fields['fix']}",
                )
                for row, problem in failed
            ),
        ) from failed[0][1]
    return pairs
