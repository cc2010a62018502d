"""Rows sent to the server by COPY into a temporary table, and the one to blame found when they do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg.adapt import PyFormat, Transformer

from lockstep.domain.errors import RecordError
from lockstep.stores.postgres.errors import said_by_server
from lockstep.stores.postgres.shape import Column, Shape
from lockstep.stores.postgres.text import Conn, listed, quote, raw, run, shortened
from lockstep.stores.postgres.values import adapted, fault

#: the temporary table's name, as it may stand in a statement
STAGE = quote("pg_temp", "_lockstep_stage")

#: Columns typed exactly as the table's, so that what does not fit is refused at COPY, which names the line.
#: `_lockstep_n` keeps the order, `_lockstep_mask` says by '1' which columns this row writes.
MAKE = """
CREATE TEMPORARY TABLE "_lockstep_stage" ON COMMIT DROP AS
SELECT 0::bigint AS "_lockstep_n", ''::text AS "_lockstep_mask", {columns} FROM {table} WITH NO DATA
"""

COPY = 'COPY {stage} ("_lockstep_n", "_lockstep_mask", {columns}) FROM STDIN'

#: Room for the next batch of this transaction.
DROP = f"DROP TABLE {STAGE}"

T = TypeVar("T")
#: what is to be done with the entries that are staged
Write = Callable[[Sequence["Entry"]], T]

_LINE = re.compile(r"^COPY _lockstep_stage, line (\d+)(?:, column (.+?): )?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row to write."""

    #: column → value, the key included
    row: Mapping[str, Any]
    #: the columns of it that are written, by the stage's order: "1" or "0" each
    mask: str


class Misfit(Exception):
    """An entry that the server does not take."""

    def __init__(self, row: Mapping[str, Any], error: RecordError) -> None:
        super().__init__(str(error))
        self.row = row
        self.error = error


def staged(
    conn: Conn, shape: Shape, columns: Sequence[Column], entries: Sequence[Entry], write: Write[T]
) -> T:
    """Send entries to the temporary table and call `write`; RecordError names the first that does not fit."""
    try:
        return fitted(conn, shape, columns, entries, write)
    except Misfit as found:
        raise found.error from found.__cause__


def fitted(
    conn: Conn, shape: Shape, columns: Sequence[Column], entries: Sequence[Entry], write: Write[T]
) -> T:
    """Send entries to the temporary table and call `write`; Misfit for the first that does not fit.

    In a savepoint, so that after a failure the rows can be tried again to find the one to blame.
    """
    try:
        with conn.transaction():
            return _attempt(conn, shape, columns, entries, write)
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.RaiseException) as problem:
        culprit = _copied_line(problem)
        if culprit is None:
            culprit = _first_failing(conn, shape, columns, entries, write)
        if culprit is None:
            raise
        row = entries[culprit].row
        raise Misfit(row, _blamed(shape, row, problem)) from problem


def _attempt(
    conn: Conn, shape: Shape, columns: Sequence[Column], entries: Sequence[Entry], write: Write[T]
) -> T:
    names = listed(column.sql for column in columns)
    run(conn, MAKE.format(columns=names, table=shape.sql))
    with conn.cursor() as cursor, cursor.copy(raw(COPY.format(stage=STAGE, columns=names)), {}) as copy:
        for n, entry in enumerate(entries):
            values = [adapted(column, entry.row.get(column.name)) for column in columns]
            try:
                copy.write_row((n, entry.mask, *values))
            except (psycopg.Error, ValueError, TypeError, OverflowError) as problem:
                error = _unsendable(conn, shape, columns, entry.row, problem)
                raise Misfit(entry.row, error) from problem
    written = write(entries)
    run(conn, DROP)
    return written


def _unsendable(
    conn: Conn, shape: Shape, columns: Sequence[Column], row: Mapping[str, Any], problem: Exception
) -> RecordError:
    """Say which column's value it is that cannot be sent."""
    for column in columns:
        value = row.get(column.name)
        if value is None:
            continue
        try:
            made = adapted(column, value)
            Transformer(conn).get_dumper(made, PyFormat.TEXT).dump(made)
        except (psycopg.Error, ValueError, TypeError, OverflowError) as why:
            return fault(
                shape,
                row,
                f"column {column.name!r} ({column.declared}) cannot take a value of type "
                f"{type(value).__name__}: {shortened(str(why), 200)}.",
                "return a value that fits the column's type.",
            )
    return fault(shape, row, f"{shortened(str(problem), 200)}.", "return values that fit the columns' types.")


def _copied_line(problem: psycopg.Error) -> int | None:
    """Return the place of the entry that COPY stopped at."""
    found = _LINE.search(problem.diag.context or "")
    return int(found.group(1)) - 1 if found else None


def _first_failing(
    conn: Conn, shape: Shape, columns: Sequence[Column], entries: Sequence[Entry], write: Write[T]
) -> int | None:
    """Find the first entry with which the entries up to it fail, by halving; nothing of it is kept."""
    good, bad = 0, len(entries)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            with conn.transaction(force_rollback=True):
                _attempt(conn, shape, columns, entries[:middle], write)
            good = middle
        except psycopg.Error:
            bad = middle
    return bad - 1 if entries else None


def _blamed(shape: Shape, row: Mapping[str, Any], problem: psycopg.Error) -> RecordError:
    column = problem.diag.column_name
    found = _LINE.search(problem.diag.context or "")
    if found and found.group(2):
        column = found.group(2)
    named = ""
    if column and any(known.name == column for known in shape.columns):
        named = f"column {column!r} ({shape.column(column).declared}): "
    return fault(
        shape,
        row,
        f"PostgreSQL refuses it: {named}{said_by_server(problem)}.",
        "change what the revision writes, or the data, so that it fits.",
    )
