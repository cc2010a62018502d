"""Places in the key order: compared by the server, carried by everybody else as opaque text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.domain.errors import DataError
from lockstep.domain.progress import Cursor, KeyRange
from lockstep.stores.postgres.shape import Column, Shape
from lockstep.stores.postgres.text import Conn, listed, one, quote

#: A key as the server spells it.
SPELL = "SELECT {texts}"

Texts = Sequence[str]


def cursor_of(texts: Texts) -> Cursor:
    """Return a place in the key order from the key columns' text forms."""
    return json.dumps(list(texts), ensure_ascii=False)


def cursor_of_row(conn: Conn, shape: Shape, row: Mapping[str, Any]) -> Cursor:
    """Return a row's place in the key order; one round trip where Python's value does not spell the key."""
    missing = [column.name for column in shape.key if row.get(column.name) is None]
    if missing:
        raise DataError(
            f"{shape.table}: a row without {', '.join(missing)} has no place in the order of its key. "
            "Give each row its whole primary key.",
            table=shape.table.slug,
        )
    if all(column.read_as_text for column in shape.key):
        return cursor_of([str(row[column.name]) for column in shape.key])
    texts = listed(
        f"{column.cast(f'%({name})s')}::text" for column, name in zip(shape.key, _names(shape), strict=True)
    )
    params = {
        name: str(row[column.name]) if column.read_as_text else row[column.name]
        for column, name in zip(shape.key, _names(shape), strict=True)
    }
    return cursor_of(one(conn, SPELL.format(texts=texts), params))


def _names(shape: Shape) -> list[str]:
    return [f"key{place}" for place in range(len(shape.key))]


def texts_of(shape: Shape, cursor: Cursor) -> list[str]:
    """Return the key columns' text forms; DataError for what this store did not make."""
    try:
        texts = json.loads(cursor)
    except ValueError:
        texts = None
    if (
        not isinstance(texts, list)
        or len(texts) != len(shape.key)
        or not all(isinstance(text, str) for text in texts)
    ):
        raise DataError(
            f"{shape.table}: {cursor!r} is no place in the order of its key "
            f"({', '.join(column.name for column in shape.key)}). Has the key changed since the run began? "
            "Start a new run.",
            table=shape.table.slug,
            cursor=cursor,
        )
    return texts


def row_of(columns: Sequence[Column], alias: str = "") -> str:
    """Return columns as one value to compare: a row where there are several."""
    names = listed(alias + column.sql for column in columns)
    return names if len(columns) == 1 else f"({names})"


def bounds(shape: Shape, lower: Cursor | None, upper: Cursor | None) -> tuple[str, dict[str, Any]]:
    """Return the condition `lower < key <= upper`, and its parameters."""
    conditions: list[str] = []
    params: dict[str, Any] = {}
    for cursor, sign, side in ((lower, ">", "lower"), (upper, "<=", "upper")):
        if cursor is None:
            continue
        names = [f"{side}{place}" for place in range(len(shape.key))]
        params.update(zip(names, texts_of(shape, cursor), strict=True))
        values = listed(column.cast(f"%({name})s") for column, name in zip(shape.key, names, strict=True))
        value = values if len(names) == 1 else f"({values})"
        conditions.append(f"{row_of(shape.key)} {sign} {value}")
    return " AND ".join(conditions) or "true", params


def among(shape: Shape, cursors: Sequence[Cursor], side: str) -> tuple[str, dict[str, Any]]:
    """Return the condition that a row's key is one of these, and its parameters, named after `side`."""
    names = [f"{side}{place}" for place in range(len(shape.key))]
    texts = [texts_of(shape, cursor) for cursor in cursors]
    params: dict[str, Any] = {name: [key[place] for key in texts] for place, name in enumerate(names)}
    aliases = [quote(f"_lockstep_{name}") for name in names]
    values = listed(column.cast(alias) for column, alias in zip(shape.key, aliases, strict=True))
    arrays = listed(f"%({name})s::text[]" for name in names)
    found = f'SELECT {values} FROM unnest({arrays}) AS "_lockstep_{side}" ({listed(aliases)})'
    return f"{row_of(shape.key)} IN ({found})", params


def leaving_out(shape: Shape, excluding: Sequence[Cursor]) -> tuple[str, dict[str, Any]]:
    """Return the condition that a row's key is none of these, and its parameters."""
    if not excluding:
        return "true", {}
    condition, params = among(shape, excluding, "passed")
    return f"NOT ({condition})", params


def within_range(
    shape: Shape, within: KeyRange, after: Cursor | None, excluding: Sequence[Cursor] = ()
) -> tuple[str, dict[str, Any]]:
    """Return the condition for what is left of a range, some keys left out, and its parameters."""
    condition, params = bounds(shape, within.lower if after is None else after, within.upper)
    if within.keys is not None:
        these, more = among(shape, within.keys, "only")
        condition, params = f"{condition} AND {these}", params | more
    if excluding:
        others, more = leaving_out(shape, excluding)
        condition, params = f"{condition} AND {others}", params | more
    return condition, params


def between(shape: Shape, alias: str, source: str, keys: Sequence[str]) -> str:
    """Return the condition that a row's key lies between the first and last of those in `source`.

    It changes no result of a join by key: without it the planner, which knows nothing of a new temporary
    table, may well read the whole table for a batch.
    """
    names = listed(keys)
    last = listed(f"{key} DESC" for key in keys)
    row = row_of(shape.key, alias)
    return (
        f"{row} >= (SELECT {names} FROM {source} ORDER BY {names} LIMIT 1) "
        f"AND {row} <= (SELECT {names} FROM {source} ORDER BY {last} LIMIT 1)"
    )


def alias_of(place: int) -> str:
    """Return the reserved name of the key column at `place`, which no author's expression can mean."""
    return quote(f"_lockstep_k{place}")


def aliased(shape: Shape, prefix: str = "") -> str:
    """Return the key columns under their reserved names, to select."""
    return listed(f"{prefix}{column.sql} AS {alias_of(place)}" for place, column in enumerate(shape.key))


def same_key(shape: Shape, left: str = "", right: str = "") -> str:
    """Return the condition that joins a table to rows that carry its key under reserved names."""
    return " AND ".join(
        f"{left}{column.sql} = {right}{alias_of(place)}" for place, column in enumerate(shape.key)
    )
