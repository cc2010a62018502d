"""Pages of rows in key order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from typing import Any

import psycopg

from lockstep.domain.progress import Cursor, KeyRange, Page
from lockstep.stores.postgres.ranges import alias_of, cursor_of, leaving_out, within_range
from lockstep.stores.postgres.shape import Shape
from lockstep.stores.postgres.text import Conn, given, listed, one, run

#: The next rows of a range, and one more that only tells whether there is one.
PAGE = "SELECT {columns} FROM {table} WHERE {bounds} AND {where} ORDER BY {key} LIMIT %(most)s {lock}"

#: Keep the rows as they are until the commit; rows that refer to them by foreign key stay free.
LOCK = "FOR NO KEY UPDATE"

#: Which version of a row it is.
STAMP = 'xmin::text AS "_lockstep_xmin"'

#: Rows that match.
COUNT = "SELECT count(*) FROM {table} WHERE {where} AND {others}"

#: rows of a page whose length is looked at
LOOKED_AT = 50


def page(
    conn: Conn,
    shape: Shape,
    *,
    columns: Sequence[str] | None,
    where: str | None,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
    locked: bool = False,
    stamped: bool = False,
    excluding: Sequence[Cursor] = (),
) -> Page:
    """Read the next `limit` rows as dicts of column to value, the key included.

    stamped: with the version of each, which tells later whether it has changed since.
    """
    chosen = shape.chosen(columns)
    names = [column.name for column in chosen]
    # A key whose Python value does not spell its text form is read a second time, as text.
    as_text = [place for place, column in enumerate(shape.key) if not column.read_as_text]
    wanted = [column.sql for column in chosen]
    wanted += [f"{shape.key[place].text()} AS {alias_of(place)}" for place in as_text]
    wanted += [STAMP] if stamped else []
    condition, params = within_range(shape, within, after, excluding)
    statement = PAGE.format(
        columns=listed(wanted),
        table=shape.sql,
        bounds=condition,
        where=given(where),
        key=shape.key_list,
        lock=LOCK if locked else "",
    )
    found = run(conn, statement, {**params, "most": limit + 1})
    rows = found.fetchall()
    last = len(rows) <= limit
    del rows[limit:]
    stamps = tuple(row[-1] for row in rows) if stamped else ()
    # zip stops at the shorter: what is beyond the names is for the cursor and the stamps alone.
    records: tuple[dict[str, Any], ...] = tuple(map(dict, map(zip, repeat(names), rows)))
    if not rows:
        return Page(records=(), cursor=after, last=True)
    spelt = dict(zip(as_text, rows[-1][len(names) : len(names) + len(as_text)], strict=True))
    texts = [
        spelt[place] if place in spelt else str(records[-1][column.name])
        for place, column in enumerate(shape.key)
    ]
    return Page(
        records=records, cursor=cursor_of(texts), last=last, size=_size(found, len(rows)), stamps=stamps
    )


def _size(found: psycopg.Cursor[Any], rows: int) -> int:
    """Return about how many bytes the first `rows` rows took on the wire, from some of them."""
    result = found.pgresult
    if result is None or not rows:
        return 0
    looked = range(0, rows, -(-rows // LOOKED_AT))
    taken = sum(len(result.get_value(row, at) or b"") for row in looked for at in range(result.nfields))
    return taken * rows // len(looked)


def count(conn: Conn, shape: Shape, where: str | None, excluding: Sequence[Cursor] = ()) -> int:
    """Count the rows that match, those with keys in `excluding` left out."""
    others, params = leaving_out(shape, excluding)
    statement = COUNT.format(table=shape.sql, where=given(where), others=others)
    found: int = one(conn, statement, params)[0]
    return found
