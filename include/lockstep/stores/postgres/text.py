"""SQL as text: the only place where a name or an author's condition becomes part of a statement.

Every statement that is built here runs with parameters, even if there are none, so that a per cent sign
in a name or a condition is always doubled and never taken for a placeholder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from psycopg import Connection, Cursor
from psycopg.sql import SQL

Row = tuple[Any, ...]
Conn = Connection[Row]


def raw(text: str) -> SQL:
    """Take text as SQL; names in it are quoted already."""
    return SQL(text)


def quote(*parts: str) -> str:
    """Quote a name, of one part or qualified."""
    return ".".join('"' + part.replace('"', '""').replace("%", "%%") + '"' for part in parts)


def given(where: str | None) -> str:
    """Return an author's condition, closed off so that neither OR nor a comment in it can leak out."""
    return "true" if where is None else "(\n" + where.replace("%", "%%") + "\n)"


def listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)


def run(conn: Conn, statement: str, params: Mapping[str, Any] | None = None) -> Cursor[Row]:
    """Run one statement that was built here."""
    return conn.execute(raw(statement), params if params is not None else {})


def one(conn: Conn, statement: str, params: Mapping[str, Any] | None = None) -> Row:
    """Run a statement that returns exactly one row."""
    row = run(conn, statement, params).fetchone()
    if row is None:  # a statement of ours that always returns a row
        raise LookupError(statement)
    return row


def shortened(text: str, most: int = 300) -> str:
    """Return text on one line, cut to `most` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"
