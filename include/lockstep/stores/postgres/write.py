"""Changed rows written back by key, in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.domain.errors import BadRecords, RecordError
from lockstep.domain.progress import Cursor
from lockstep.domain.quarantine import Quarantined
from lockstep.stores.postgres.journal import FILE_ROWS, Filing, image, key_image, returns_old
from lockstep.stores.postgres.lines import Misfit
from lockstep.stores.postgres.pack import Packed, pack
from lockstep.stores.postgres.ranges import aliased, between, cursor_of, cursor_of_row, same_key
from lockstep.stores.postgres.shape import Column, Shape
from lockstep.stores.postgres.stage import STAGE, fitted
from lockstep.stores.postgres.text import Conn, listed, quote, run

Row = Mapping[str, Any]

#: Write what was staged where it differs.
UPDATE = """
UPDATE {table} AS t SET {sets} FROM {stage} AS s
WHERE {join} AND {near} AND {differs}
"""

#: The same, each row's image from before filed. The rows are locked as they are read, so that the image is
#: of the very version that is overwritten.
UPDATE_FILED = (
    """
WITH "_lockstep_old" AS MATERIALIZED (
    SELECT {aliased}, s."_lockstep_mask", {staged_values}, {image} AS "_lockstep_before"
    FROM {table} AS t JOIN {stage} AS s ON {join}
    WHERE {near} AND {differs} ORDER BY s."_lockstep_n" FOR NO KEY UPDATE OF t
), "_lockstep_new" AS (
    UPDATE {table} AS t SET {sets} FROM "_lockstep_old" AS s WHERE {same_key} AND {near}
    RETURNING {key_image} AS key, "_lockstep_before" AS before, {image} AS after
)
"""
    + FILE_ROWS
)


#: The same where the server can say what a row was: in one pass.
UPDATE_FILED_BY_OLD = (
    """
WITH "_lockstep_new" AS (
    UPDATE {table} AS t SET {sets} FROM {stage} AS s WHERE {join} AND {near} AND {differs}
    RETURNING WITH (OLD AS o) {key_image} AS key, {old_image} AS before, {image} AS after
)
"""
    + FILE_ROWS
)


#: Only what still is the version that was read. Any change gives a row another xmin, and no later transaction
#: has the same one; a lock does not. Looked at again where the row was waited for.
SAME_VERSION = ' AND t.xmin = s."_lockstep_xmin"'

#: Staged rows that are of another version by now, in key order. Not those that this transaction has written: a row
#: that can be seen and whose writer has not ended is our own, a subtransaction of a trigger included.
CHANGED_SINCE = """
SELECT {texts} FROM {stage} AS s JOIN {table} AS t ON {join}
WHERE {near} AND t.xmin <> s."_lockstep_xmin" AND pg_xact_status(
    greatest(pg_current_xact_id()::text::bigint - age(t.xmin), 3)::text::xid8) IS DISTINCT FROM 'in progress'
ORDER BY s."_lockstep_n"
"""


def write_pairs(conn: Conn, shape: Shape, pairs: Sequence[tuple[Row, Row]], *, filing: Filing | None) -> int:
    """Write what differs of locked rows; return how many rows that was. BadRecords for those that cannot be."""
    return write_packed(conn, shape, pack(shape, pairs), filing=filing)[0]


def write_packed(
    conn: Conn, shape: Shape, packed: Packed, *, filing: Filing | None
) -> tuple[int, tuple[Cursor, ...]]:
    """Write what was packed; return how many rows that was, and where rows have changed since they were read.

    Those, and rows that are gone, are left alone. BadRecords for rows that cannot be written.
    """
    if packed.faults:
        raise bad_records(conn, shape, packed.faults)
    if not packed.lines:
        return 0, ()

    def write(count: int) -> tuple[int, tuple[Cursor, ...]]:
        done = overwrite(conn, shape, packed.columns, filing, whole=packed.whole, stamped=packed.stamped)
        return done, changed_since(conn, shape) if packed.stamped and done < count else ()

    try:
        return fitted(conn, shape, (*shape.key, *packed.columns), packed.rows, packed.lines, write)
    except Misfit as found:
        raise bad_records(conn, shape, [(found.row, found.error)]) from found.__cause__


def changed_since(conn: Conn, shape: Shape) -> tuple[Cursor, ...]:
    """Return the places of staged rows that have another version by now, written by somebody else."""
    statement = CHANGED_SINCE.format(
        texts=listed(column.text("t.") for column in shape.key),
        stage=STAGE,
        table=shape.sql,
        join=_join(shape),
        near=_near(shape),
    )
    return tuple(cursor_of(texts) for texts in run(conn, statement))


def bad_records(conn: Conn, shape: Shape, faults: Sequence[tuple[Row, RecordError]]) -> BadRecords:
    """Return the error that names the records by their places in the key order."""
    return BadRecords(
        resource=str(shape.table),
        records=tuple(
            Quarantined(
                key=cursor_of_row(conn, shape, row),
                shown=repr(error.key),
                error=f"{error.problem} Fix: {error.fields['fix']}",
            )
            for row, error in faults
        ),
    )


def overwrite(
    conn: Conn,
    shape: Shape,
    columns: Sequence[Column],
    filing: Filing | None,
    *,
    whole: bool,
    stamped: bool = False,
) -> int:
    """Update rows from the stage where they differ; return how many did.

    whole: all of them write all of the columns. stamped: only rows of the version that was read.
    """
    by_name = filing is None or returns_old(conn)

    def value(place: int) -> str:
        return f"s.{columns[place].sql if by_name else quote(f'_lockstep_v{place}')}"

    def chosen(place: int, column: Column) -> str:
        if whole:
            return value(place)
        return f"CASE WHEN {_marked(place)} THEN {value(place)} ELSE t.{column.sql} END"

    differs = " OR ".join(
        f"({'' if whole else _marked(place) + ' AND '}{column.differs(f't.{column.sql}', f's.{column.sql}')})"
        for place, column in enumerate(columns)
    )
    parts = {
        "table": shape.sql,
        "stage": STAGE,
        "sets": listed(f"{column.sql} = {chosen(place, column)}" for place, column in enumerate(columns)),
        "join": _join(shape) + (SAME_VERSION if stamped else ""),
        "near": _near(shape),
        "differs": f"({differs})",
    }
    if filing is None:
        return run(conn, UPDATE.format(**parts)).rowcount
    template = UPDATE_FILED_BY_OLD if by_name else UPDATE_FILED
    statement = template.format(
        aliased=aliased(shape, "t."),
        staged_values=listed(
            f"s.{column.sql} AS {quote(f'_lockstep_v{place}')}" for place, column in enumerate(columns)
        ),
        image=image(columns, "t."),
        old_image=image(columns, "o."),
        key_image=key_image(shape.key, "t."),
        same_key=same_key(shape, "t.", "s."),
        **parts,
    )
    params = {**filing.params("update", shape.table), "image": [column.name for column in columns]}
    return run(conn, statement, params).rowcount


def _join(shape: Shape) -> str:
    return " AND ".join(f"t.{column.sql} = s.{column.sql}" for column in shape.key)


def _near(shape: Shape) -> str:
    return between(shape, "t.", STAGE, [column.sql for column in shape.key])


def _marked(place: int) -> str:
    return f"""substr(s."_lockstep_mask", {place + 1}, 1) = '1'"""
