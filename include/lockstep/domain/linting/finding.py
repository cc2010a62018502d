"""What a rule finds, and in which place of which file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from lockstep.domain.destroying import plain_parts
from lockstep.domain.operations.base import Operation, Statements
from lockstep.domain.revision import Direction, Revision


class Severity(str, Enum):
    #: worth knowing in a review
    INFO = "info"
    #: likely to hurt a database in use, or to be regretted at a downgrade
    WARNING = "warning"
    #: it will not do what it seems to
    ERROR = "error"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class Finding:
    code: str
    severity: Severity
    #: file, direction, number of the operation and of the statement, as `lockstep plan` counts them
    where: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.severity} [{self.code}] {self.message} Fix: {self.fix}"


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One statement of one operation."""

    direction: Direction
    number: int
    operation: Statements
    #: as it is written
    text: str
    where: str


#: One that creates a table for certain: IF NOT EXISTS may find it there, and in use.
_MAKES_TABLE = re.compile(
    r"create (?:global |local )?(?:unlogged |temp |temporary )?table (?!if not exists)(?P<name>[\w.$]+)"
)

Rule = Callable[[Revision], Iterator[Finding]]


def placed(revision: Revision) -> Iterator[Placed]:
    """Return every SQL statement of a revision, in order, with its place."""
    for direction, number, operation in operations(revision):
        if isinstance(operation, Statements):
            for count, text in enumerate(operation.statements, 1):
                where = place(revision, direction, number, count if len(operation.statements) > 1 else 0)
                yield Placed(direction=direction, number=number, operation=operation, text=text, where=where)


def operations(revision: Revision) -> Iterator[tuple[Direction, int, Operation]]:
    """Return every operation of a revision with its direction and number."""
    directions: tuple[Direction, ...] = ("upgrade", "downgrade")
    for direction in directions:
        for number, operation in enumerate(revision.operations(direction), 1):
            yield direction, number, operation


def place(revision: Revision, direction: Direction, number: int, statement: int = 0) -> str:
    """Name a place as `lockstep plan` counts it; statement 0: the whole operation."""
    return f"{revision.file}: {direction} {number}" + (f", statement {statement}" if statement else "")


def warning(code: str, where: str, message: str, fix: str) -> Finding:
    """Return a finding that is likely to hurt."""
    return Finding(code=code, severity=Severity.WARNING, where=where, message=message, fix=fix)


def made_tables(revision: Revision) -> set[str]:
    """Return the tables that statements of upgrade() create: nobody uses them yet."""
    return {
        found["name"]
        for one in placed(revision)
        if one.direction == "upgrade"
        for found in filter(None, map(_MAKES_TABLE.match, plain_parts(one.text)))
    }
