"""Rows sent to the server by COPY into a temporary table, and the one to blame found when they do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

from lockstep.domain.errors import RecordError
from lockstep.stores.postgres.errors import said_by_server
from lockstep.stores.postgres.lines import UNSENDABLE, Lines, Misfit
from lockstep.stores.postgres.shape import Column, Shape
from lockstep.stores.postgres.text import Conn, listed, quote, raw, run
from lockstep.stores.postgres.values import fault

#: the temporary table's name, as it may stand in a statement
STAGE = quote("pg_temp", "_lockstep_stage")

#: Columns typed exactly as the table's, so that what does not fit is refused at COPY, which names the line.
#: `_lockstep_n` keeps the order, `_lockstep_mask` says by '1' which columns this row writes, `_lockstep_xmin`
#: which version of the row was read.
MAKE = """
CREATE TEMPORARY TABLE "_lockstep_stage" ON COMMIT DROP AS
SELECT 0::bigint AS "_lockstep_n", ''::text AS "_lockstep_mask", '0'::xid AS "_lockstep_xmin", {columns}
FROM {table} WITH NO DATA
"""

COPY = 'COPY {stage} ("_lockstep_n", "_lockstep_mask", "_lockstep_xmin", {columns}) FROM STDIN'

#: what stands before a row's values in its line
HEAD = "{n}\t{mask}\t{xmin}\t"

#: Room for the next batch of this transaction.
DROP = f"DROP TABLE {STAGE}"

#: lines that are sent at once
SENT_AT_ONCE = 2000

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


def staged(
    conn: Conn, shape: Shape, columns: Sequence[Column], entries: Sequence[Entry], write: Write[T]
) -> T:
    """Send entries to the temporary table and call `write`; RecordError names the first that does not fit."""
    made, lines = Lines(columns), []
    rows = [entry.row for entry in entries]
    try:
        for n, entry in enumerate(entries):
            try:
                lines.append(HEAD.format(n=n, mask=entry.mask, xmin=0) + made.of(entry.row))
            except UNSENDABLE as problem:
                raise made.misfit(shape, entry.row, problem) from problem
        return fitted(conn, shape, columns, rows, lines, lambda count: write(entries[:count]))
    except Misfit as found:
        raise found.error from found.__cause__


def fitted(
    conn: Conn,
    shape: Shape,
    columns: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    lines: Sequence[str],
    write: Callable[[int], T],
) -> T:
    """Send rows' lines to the temporary table and call `write` with their number; Misfit for one that does not fit.

    In a savepoint, so that after a failure the rows can be tried again to find the one to blame.
    """
    try:
        with conn.transaction():
            return _attempt(conn, shape, columns, lines, write)
    except UnicodeEncodeError as problem:
        row = next(row for row, line in zip(rows, lines, strict=True) if not _encodes(conn, line))
        raise Lines(columns).misfit(shape, row, problem) from problem
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.RaiseException) as problem:
        culprit = _copied_line(problem)
        if culprit is None:
            culprit = _first_failing(conn, shape, columns, lines, write)
        if culprit is None:
            raise
        row = rows[culprit]
        raise Misfit(row, _blamed(shape, row, problem)) from problem


def _attempt(
    conn: Conn, shape: Shape, columns: Sequence[Column], lines: Sequence[str], write: Callable[[int], T]
) -> T:
    names = listed(column.sql for column in columns)
    run(conn, MAKE.format(columns=names, table=shape.sql))
    with conn.cursor() as cursor, cursor.copy(raw(COPY.format(stage=STAGE, columns=names)), {}) as copy:
        for begin in range(0, len(lines), SENT_AT_ONCE):
            text = "\n".join(lines[begin : begin + SENT_AT_ONCE]) + "\n"
            copy.write(text.encode(conn.info.encoding))
    written = write(len(lines))
    run(conn, DROP)
    return written


def _encodes(conn: Conn, line: str) -> bool:
    try:
        line.encode(conn.info.encoding)
    except UnicodeEncodeError:
        return False
    return True


def _copied_line(problem: psycopg.Error) -> int | None:
    """Return the place of the row that COPY stopped at."""
    found = _LINE.search(problem.diag.context or "")
    return int(found.group(1)) - 1 if found else None


def _first_failing(
    conn: Conn, shape: Shape, columns: Sequence[Column], lines: Sequence[str], write: Callable[[int], T]
) -> int | None:
    """Find the first row with which the rows up to it fail, by halving; nothing of it is kept."""
    good, bad = 0, len(lines)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            with conn.transaction(force_rollback=True):
                _attempt(conn, shape, columns, lines[:middle], write)
            good = middle
        except psycopg.Error:
            bad = middle
    return bad - 1 if lines else None


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
