"""Rules on data that is taken away, or used after that."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lockstep.domain.destroying import destroyed
from lockstep.domain.linting.finding import Finding, Severity, made_tables, operations, place, placed
from lockstep.domain.operations.base import Operation, Statements
from lockstep.domain.operations.drop_collection import DropCollection
from lockstep.domain.operations.drop_column import DropColumn
from lockstep.domain.operations.drop_table import DropTable
from lockstep.domain.operations.restore import Restore
from lockstep.domain.operations.rewrite_table import RewriteTable
from lockstep.domain.operations.transform_rows import TransformRows
from lockstep.domain.operations.update_rows import UpdateRows
from lockstep.domain.revision import Direction, Revision

_INSTEAD = {
    "DROP TABLE": "use ops.drop_table, which parks the table with its data",
    "DROP COLUMN": "use ops.drop_column, which parks the column with its data",
}


def data_dropped(revision: Revision) -> Iterator[Finding]:
    """SQL that takes data away, which neither a journal nor a park keeps."""
    made = made_tables(revision)
    for one in placed(revision):
        up = one.direction == "upgrade"
        for gone in destroyed(one.text):
            if up and {gone.table, *gone.names} & made:
                continue
            lost = (
                "no journal and no park keeps what it takes away, so that a downgrade cannot bring it back."
                if up
                else "a downgrade loses what was written there since the upgrade."
            )
            yield Finding(
                code="data-dropped",
                severity=Severity.ERROR if up else Severity.WARNING,
                where=one.where,
                message=f"{gone}: {lost}",
                fix=f"{_INSTEAD.get(gone.words, 'use a verb that keeps a journal')}, or accept it with a reason.",
            )


def used_after_drop(revision: Revision) -> Iterator[Finding]:
    """Operations on what an earlier one of the same direction took out of use."""
    gone: list[tuple[Direction, Operation]] = []
    for direction, number, operation in operations(revision):
        for earlier_direction, earlier in gone:
            if earlier_direction == direction and _uses(operation, earlier):
                yield Finding(
                    code="used-after-drop",
                    severity=Severity.ERROR,
                    where=place(revision, direction, number),
                    message=f"{operation.title} works on what {earlier.title} took out of use before it.",
                    fix="drop it last.",
                )
        if isinstance(operation, (DropTable, DropColumn, DropCollection)):
            gone.append((direction, operation))


def _uses(operation: Operation, dropped: Operation) -> bool:
    [resource] = dropped.writes
    if isinstance(operation, (Restore, Statements)) or resource not in (*operation.writes, *operation.reads):
        return False  # statements may have made it anew
    if not isinstance(dropped, DropColumn):
        return operation.verb != "create_collection"
    column = re.compile(rf"(?<![\w.]){re.escape(dropped.column)}(?!\w)")
    return any(column.search(text) for text in _expressions(operation))


def _expressions(operation: Operation) -> Iterator[str]:
    if isinstance(operation, TransformRows):
        yield from operation.columns or ()
        yield operation.where or ""
    if isinstance(operation, UpdateRows):
        yield operation.where or ""
    if isinstance(operation, (UpdateRows, RewriteTable)):
        for name, expression in operation.set.items():
            yield from (name, expression)
    if isinstance(operation, DropColumn):
        yield operation.column
