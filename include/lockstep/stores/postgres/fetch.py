"""Rows looked up by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.stores.postgres.shape import Shape
from lockstep.stores.postgres.text import Conn, listed, run

#: The rows that have one of these keys; a key arrives as the texts of its columns.
FETCH = """
SELECT {columns} FROM {table} AS t
JOIN unnest({arrays}) AS k({names}) ON {join}
"""


def fetch(conn: Conn, shape: Shape, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows that have the keys of these, whole."""
    if not rows:
        return []
    names = [f"k{place}" for place in range(len(shape.key))]
    statement = FETCH.format(
        columns=listed(f"t.{column.sql}" for column in shape.columns),
        table=shape.sql,
        arrays=listed(f"%({name})s::text[]" for name in names),
        names=listed(names),
        join=" AND ".join(
            f"t.{column.sql} = {column.cast(f'k.{name}')}"
            for name, column in zip(names, shape.key, strict=True)
        ),
    )
    keys = {
        name: [_text(row.get(column.name)) for row in rows]
        for name, column in zip(names, shape.key, strict=True)
    }
    titles = [column.name for column in shape.columns]
    return [dict(zip(titles, found, strict=True)) for found in run(conn, statement, keys)]


def _text(value: Any) -> str | None:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "\\x" + bytes(value).hex()
    return None if value is None else str(value)
