"""Rows updated by SQL expressions, a batch of a key range at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from lockstep.domain.errors import DataError
from lockstep.domain.exchange import Swept
from lockstep.domain.progress import Cursor, KeyRange
from lockstep.stores.postgres.journal import FILE_ROWS, Filing, image, key_image, returns_old
from lockstep.stores.postgres.ranges import alias_of, aliased, cursor_of, same_key, within_range
from lockstep.stores.postgres.shape import Column, Shape
from lockstep.stores.postgres.text import Conn, given, listed, run

#: Where a full batch ends: the key of its last row, and another row if more follow. Only the key's index is read
#: where the rows are visible to all. Texts under reserved names: ORDER BY would take their own for the keys'.
END = """
SELECT {texts} FROM {table} WHERE {bounds} AND {where} ORDER BY {key} OFFSET %(before_last)s LIMIT 2
"""

#: Where the last batch of a range ends, which is not full, and how many rows match.
LAST = """
WITH "_lockstep_next" AS (
    SELECT {key}, row_number() OVER (ORDER BY {key}) AS "_lockstep_n"
    FROM {table} WHERE {bounds} AND {where} ORDER BY {key} LIMIT %(limit)s
)
SELECT (SELECT count(*) FROM "_lockstep_next"), {texts} FROM "_lockstep_next" ORDER BY "_lockstep_n" DESC LIMIT 1
"""

#: Update the batch; a bare range costs what one UPDATE of the whole table would, row for row.
UPDATE = "UPDATE {table} SET {sets} WHERE {bounds} AND {where} AND {differs}"

#: Update the batch and file each row's image from before. The rows are locked as they are read, so that the
#: image is of the very version that is overwritten.
UPDATE_FILED = (
    """
WITH "_lockstep_old" AS MATERIALIZED (
    SELECT {aliased}, {image} AS "_lockstep_before"
    FROM {table} WHERE {bounds} AND {where} AND {differs} ORDER BY {key} FOR NO KEY UPDATE
), "_lockstep_new" AS (
    UPDATE {table} SET {sets} FROM "_lockstep_old" WHERE {same_key} AND {bounds}
    RETURNING {key_image} AS key, "_lockstep_before" AS before, {image} AS after
)
"""
    + FILE_ROWS
)

#: The same where the server can say what a row was: in one pass.
UPDATE_FILED_BY_OLD = (
    """
WITH "_lockstep_new" AS (
    UPDATE {table} SET {sets} WHERE {bounds} AND {where} AND {differs}
    RETURNING WITH (OLD AS "_lockstep_old") {key_image} AS key, {old_image} AS before, {image} AS after
)
"""
    + FILE_ROWS
)


def sweep(
    conn: Conn,
    shape: Shape,
    assignments: Mapping[str, str],
    *,
    where: str | None,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
    filing: Filing | None,
    excluding: Sequence[Cursor] = (),
) -> Swept:
    """Update the next `limit` rows that match; with `filing`, journal those that really change."""
    columns = [shape.writable(name) for name in assignments]
    if not columns:
        raise DataError(f"{shape.table}: an update without assignments.", table=shape.table.slug)
    condition, params = within_range(shape, within, after, excluding)
    texts = (f"{column.text()} AS {alias_of(place)}" for place, column in enumerate(shape.key))
    parts = {"table": shape.sql, "where": given(where), "key": shape.key_list, "texts": listed(texts)}
    end = END.format(bounds=condition, **parts)
    ends = run(conn, end, {**params, "before_last": limit - 1}).fetchall()
    if ends:
        found, last, key = limit, len(ends) == 1, list(ends[0])
    else:
        row = run(conn, LAST.format(bounds=condition, **parts), {**params, "limit": limit}).fetchone()
        if row is None:
            return Swept(cursor=after, read=0, written=0, last=True)
        found, *key = row
        last = found < limit  # or rows came in between
    cursor = cursor_of(key)
    condition, params = within_range(shape, replace(within, upper=cursor), after, excluding)
    parts |= {
        "bounds": condition,
        "sets": listed(f"{column.sql} = {_value(assignments[column.name])}" for column in columns),
        "differs": _differs(columns, assignments),
    }
    if filing is None:
        written = run(conn, UPDATE.format(**parts), params).rowcount
    else:
        template = UPDATE_FILED_BY_OLD if returns_old(conn) else UPDATE_FILED
        statement = template.format(
            aliased=aliased(shape),
            image=image(columns),
            old_image=image(columns, '"_lockstep_old".'),
            key_image=key_image(shape.key),
            same_key=same_key(shape),
            **parts,
        )
        names = [column.name for column in columns]
        written = run(
            conn, statement, {**params, **filing.params("update", shape.table), "image": names}
        ).rowcount
    return Swept(cursor=cursor, read=found, written=written, last=last)


def _value(expression: str) -> str:
    return "DEFAULT" if _is_default(expression) else given(expression)


def _is_default(expression: str) -> bool:
    return expression.strip().upper() == "DEFAULT"


def _differs(columns: Sequence[Column], assignments: Mapping[str, str]) -> str:
    """Return the condition that a row changes at all, where that is cheaper to ask than to write it."""
    if any(not column.exact or _is_default(assignments[column.name]) for column in columns):
        return "true"
    distinct = (
        f"{column.sql} IS DISTINCT FROM {column.cast(given(assignments[column.name]))}" for column in columns
    )
    return f"({' OR '.join(distinct)})"
