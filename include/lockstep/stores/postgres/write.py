"""Changed rows written back by key, in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from lockstep.domain.errors import BadRecords, RecordError
from lockstep.domain.quarantine import Quarantined
from lockstep.stores.postgres.journal import FILE_ROWS, Filing, image, key_image, returns_old
from lockstep.stores.postgres.ranges import aliased, between, cursor_of_row, same_key
from lockstep.stores.postgres.shape import Column, Shape, meant
from lockstep.stores.postgres.stage import STAGE, Entry, Misfit, fitted
from lockstep.stores.postgres.text import Conn, listed, quote, run
from lockstep.stores.postgres.values import fault, same

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


def write_pairs(conn: Conn, shape: Shape, pairs: Sequence[tuple[Row, Row]], *, filing: Filing | None) -> int:
    """Write (read row, changed row) pairs, only columns that some pair changes; return rows written."""
    changes, faults = [], []
    for read, changed in pairs:
        try:
            changes.append((read, changed, _changed_names(shape, read, changed)))
        except RecordError as problem:
            faults.append((read, problem))
    if faults:
        raise bad_records(conn, shape, faults)
    names = set().union(*(found for _, _, found in changes))
    columns = [column for column in shape.columns if column.name in names]
    entries = [
        Entry(row={**read, **changed}, mask=mask_of(columns, found))
        for read, changed, found in changes
        if found
    ]
    if not entries:
        return 0
    write = partial(overwrite, conn, shape, columns, filing)
    try:
        return fitted(conn, shape, (*shape.key, *columns), entries, write)
    except Misfit as found:
        raise bad_records(conn, shape, [(found.row, found.error)]) from found.__cause__


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
    conn: Conn, shape: Shape, columns: Sequence[Column], filing: Filing | None, entries: Sequence[Entry]
) -> int:
    """Update rows from the stage where they differ; return how many did."""
    whole = all("0" not in entry.mask for entry in entries)
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
        "join": " AND ".join(f"t.{column.sql} = s.{column.sql}" for column in shape.key),
        "near": between(shape, "t.", STAGE, [column.sql for column in shape.key]),
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


def mask_of(columns: Sequence[Column], names: set[str]) -> str:
    return "".join("1" if column.name in names else "0" for column in columns)


def _marked(place: int) -> str:
    return f"""substr(s."_lockstep_mask", {place + 1}, 1) = '1'"""


def _changed_names(shape: Shape, read: Row, changed: Row) -> set[str]:
    """Return the columns that a pair changes; RecordError for one that must not or cannot."""
    found = set()
    for name, value in changed.items():
        if name in read and same(read[name], value):
            continue
        found.add(check_writable(shape, read, name))
    for column in shape.key:
        if column.name in found:
            raise fault(
                shape,
                read,
                f"its key column {column.name!r} was changed from {read.get(column.name)!r} "
                f"to {changed[column.name]!r}.",
                "leave the key as it is; copy to a new row instead.",
            )
    for column in shape.columns:
        if column.name in found and column.not_null and changed[column.name] is None:
            raise fault(shape, read, f"column {column.name!r} must not be null.", "return a value for it.")
    return found


def check_writable(shape: Shape, row: Row, name: str) -> str:
    """Return the name of a column that exists and is not generated; RecordError otherwise."""
    known = next((column for column in shape.columns if column.name == name), None)
    if known is None:
        raise fault(shape, row, unknown(shape, name), "name columns that the table has.")
    if known.generated:
        raise fault(
            shape, row, f"column {name!r} is generated by the server.", "change what it is made from."
        )
    return name


def unknown(shape: Shape, name: str) -> str:
    return f"the table has no column {name!r}.{meant(name, (column.name for column in shape.columns))}"
