"""Rows inserted by key, or written over what is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from lockstep.domain.errors import Unavailable
from lockstep.stores.postgres.journal import FILE_ROWS, Filing, image, key_image
from lockstep.stores.postgres.pack import check_writable, mask_of
from lockstep.stores.postgres.shape import Column, Shape
from lockstep.stores.postgres.stage import STAGE, Entry, staged
from lockstep.stores.postgres.text import Conn, listed, one, run
from lockstep.stores.postgres.values import fault, key_text
from lockstep.stores.postgres.write import overwrite

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows that leave out the same of those columns that fill themselves; what else they leave out is null."""

    #: what the group writes
    columns: tuple[Column, ...]
    #: an entry's mask says which of the columns beside the key its row gives
    entries: tuple[Entry, ...]

    def beside_key(self, shape: Shape) -> list[Column]:
        return [column for column in self.columns if column not in shape.key]


#: Insert what was staged where its key is absent, in the order given, and file what was inserted as it came
#: out: with defaults, and with what triggers made of it.
INSERT = (
    """
WITH "_lockstep_new" AS (
    INSERT INTO {table} AS t ({columns}) OVERRIDING SYSTEM VALUE
    SELECT {columns} FROM {stage} ORDER BY "_lockstep_n"
    ON CONFLICT ({key}) DO NOTHING
    RETURNING {key_image} AS key, NULL::jsonb AS before, {image} AS after
)
"""
    + FILE_ROWS
)

#: Staged rows whose key is there.
THERE = "SELECT count(*) FROM {stage} AS s JOIN {table} AS t ON {join}"


def insert_missing(conn: Conn, shape: Shape, rows: Sequence[Row], filing: Filing) -> int:
    """Insert the rows whose key is absent; return how many."""
    inserted = 0
    for group in _groups(shape, rows):
        write = partial(_insert, conn, shape, group, filing)
        inserted += staged(conn, shape, group.columns, group.entries, write)
    return inserted


def upsert(conn: Conn, shape: Shape, rows: Sequence[Row], filing: Filing) -> tuple[int, int]:
    """Insert or overwrite by key; return (inserted, overwritten). Rows that are equal are left."""
    _refuse_twins(shape, rows)
    inserted = overwritten = 0
    for group in _groups(shape, rows):
        write = partial(_upsert, conn, shape, group, filing)
        new, over = staged(conn, shape, group.columns, group.entries, write)
        inserted, overwritten = inserted + new, overwritten + over
    return inserted, overwritten


def _upsert(
    conn: Conn, shape: Shape, group: Group, filing: Filing, entries: Sequence[Entry]
) -> tuple[int, int]:
    # Overwriting first: a row inserted here, as its triggers made it, is not to be written again.
    there = _there(conn, shape)
    plain = group.beside_key(shape)
    whole = all("0" not in entry.mask for entry in entries)
    over = overwrite(conn, shape, plain, filing, whole=whole) if plain and there else 0
    new = _insert(conn, shape, group, filing, entries) if there < len(entries) else 0
    if there + new < len(entries):
        raise Unavailable(
            f"{shape.table}: somebody else inserts rows under the same keys as this batch. "
            "Nothing of it was written; stop what writes there, or try again.",
            table=shape.table.slug,
        )
    return new, over


def _insert(conn: Conn, shape: Shape, group: Group, filing: Filing, entries: Sequence[Entry]) -> int:
    columns = group.columns
    statement = INSERT.format(
        table=shape.sql,
        columns=listed(column.sql for column in columns),
        stage=STAGE,
        key=shape.key_list,
        key_image=key_image(shape.key, "t."),
        image=image(columns, "t."),
    )
    names = [column.name for column in columns]
    return run(conn, statement, {**filing.params("insert", shape.table), "image": names}).rowcount


def _there(conn: Conn, shape: Shape) -> int:
    join = " AND ".join(f"t.{column.sql} = s.{column.sql}" for column in shape.key)
    found: int = one(conn, THERE.format(stage=STAGE, table=shape.sql, join=join))[0]
    return found


def _groups(shape: Shape, rows: Iterable[Row]) -> Iterator[Group]:
    selves = {column.name for column in shape.columns if column.fills_itself}
    found: dict[frozenset[str], list[Row]] = {}
    for row in rows:
        _check(shape, row)
        found.setdefault(frozenset(selves & set(row)), []).append(row)
    for members in found.values():
        names = set().union(*members)
        columns = tuple(column for column in shape.columns if column.name in names)
        plain = [column for column in columns if column not in shape.key]
        entries = tuple(Entry(row=row, mask=mask_of(plain, set(row))) for row in members)
        yield Group(columns=columns, entries=entries)


def _check(shape: Shape, row: Row) -> None:
    for column in shape.key:
        if row.get(column.name) is None:
            raise fault(
                shape,
                row,
                f"it has no value for key column {column.name!r}.",
                "give each row its whole primary key.",
            )
    for name in row:
        check_writable(shape, row, name)
    for column in shape.columns:
        if not column.not_null or row.get(column.name) is not None:
            continue
        if column.name in row or not column.fills_itself:
            raise fault(
                shape, row, f"column {column.name!r} must not be null.", "give each row a value for it."
            )


def _refuse_twins(shape: Shape, rows: Sequence[Row]) -> None:
    """Refuse two rows of one key: which of them was meant cannot be known."""
    seen = set()
    for row in rows:
        key = key_text(shape, row)
        if key in seen:
            raise fault(
                shape, row, "two records of one batch have this key.", "give each record a key of its own."
            )
        seen.add(key)
