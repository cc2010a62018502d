"""Pages of rows in key order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lockstep.domain.progress import Cursor, KeyRange, Page
from lockstep.stores.postgres.ranges import alias_of, cursor_of, within_range
from lockstep.stores.postgres.shape import Shape
from lockstep.stores.postgres.text import Conn, given, listed, one, run

#: The next rows of a range, and one more that only tells whether there is one.
PAGE = "SELECT {columns} FROM {table} WHERE {bounds} AND {where} ORDER BY {key} LIMIT %(most)s {lock}"

#: Keep the rows as they are until the commit; rows that refer to them by foreign key stay free.
LOCK = "FOR NO KEY UPDATE"

#: Rows that match.
COUNT = "SELECT count(*) FROM {table} WHERE {where}"


def page(
    conn: Conn,
    shape: Shape,
    *,
    columns: Sequence[str] | None,
    where: str | None,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
    locked: bool,
) -> Page:
    """Read the next `limit` rows as dicts of column to value, the key included."""
    chosen = shape.chosen(columns)
    names = [column.name for column in chosen]
    # A key whose Python value does not spell its text form is read a second time, as text.
    as_text = [place for place, column in enumerate(shape.key) if not column.read_as_text]
    wanted = [column.sql for column in chosen]
    wanted += [f"{shape.key[place].text()} AS {alias_of(place)}" for place in as_text]
    condition, params = within_range(shape, within, after)
    statement = PAGE.format(
        columns=listed(wanted),
        table=shape.sql,
        bounds=condition,
        where=given(where),
        key=shape.key_list,
        lock=LOCK if locked else "",
    )
    rows = run(conn, statement, {**params, "most": limit + 1}).fetchall()
    last = len(rows) <= limit
    del rows[limit:]
    # zip stops at the shorter: the texts beyond the names are for the cursor alone.
    records: tuple[dict[str, Any], ...] = tuple(dict(zip(names, row, strict=False)) for row in rows)
    if not rows:
        return Page(records=(), cursor=after, last=True)
    spelt = dict(zip(as_text, rows[-1][len(names) :], strict=True))
    texts = [
        spelt[place] if place in spelt else str(records[-1][column.name])
        for place, column in enumerate(shape.key)
    ]
    return Page(records=records, cursor=cursor_of(texts), last=last)


def count(conn: Conn, shape: Shape, where: str | None) -> int:
    """Count the rows that match."""
    found: int = one(conn, COUNT.format(table=shape.sql, where=given(where)))[0]
    return found
