"""Key ranges: cut by the server, compared by the server, carried by everybody else as opaque text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lockstep.domain.errors import DataError
from lockstep.domain.progress import Cursor, KeyRange
from lockstep.stores.postgres.shape import Column, Shape
from lockstep.stores.postgres.text import Conn, given, listed, one, quote, run, shortened

#: characters of a key that a range's label shows
LABEL_PART = 24

#: How many rows there are to share out.
COUNT = "SELECT count(*) FROM {table} WHERE {where}"

#: First and last key of each range, in one pass over the key's index.
CUTS = """
SELECT "_lockstep_n", {texts}
FROM (SELECT {key}, row_number() OVER (ORDER BY {key}) AS "_lockstep_n" FROM {table} WHERE {where}) AS numbered
WHERE "_lockstep_n" %% %(size)s::bigint IN (0, 1 %% %(size)s::bigint) OR "_lockstep_n" = %(count)s::bigint
ORDER BY "_lockstep_n"
"""

Texts = Sequence[str]


def cursor_of(texts: Texts) -> Cursor:
    """Return a place in the key order from the key columns' text forms."""
    return json.dumps(list(texts), ensure_ascii=False)


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


def within_range(shape: Shape, within: KeyRange, after: Cursor | None) -> tuple[str, dict[str, Any]]:
    """Return the condition for what is left of a range, and its parameters."""
    return bounds(shape, within.lower if after is None else after, within.upper)


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


def plan(conn: Conn, shape: Shape, *, where: str | None, shards: int, least: int) -> list[KeyRange]:
    """Cut the rows that match into ranges of equal size, the outer ones unbounded outwards."""
    parts = {"table": shape.sql, "where": given(where)}
    count = one(conn, COUNT.format(**parts))[0]
    pieces = max(1, min(shards, count // max(least, 1)))
    if pieces == 1:
        return [KeyRange()]
    params = {"size": -(-count // pieces), "count": count}
    texts = listed(column.text() for column in shape.key)
    edges: dict[int, list[str]] = {
        n: list(key) for n, *key in run(conn, CUTS.format(key=shape.key_list, texts=texts, **parts), params)
    }
    size, lower, ranges = params["size"], None, []
    for first in range(1, count + 1, size):
        last = min(first + size - 1, count)
        upper = None if last == count else cursor_of(edges[last])
        label = f"{_shown(edges[first])} to {_shown(edges[last])}"
        ranges.append(KeyRange(lower=lower, upper=upper, label=label))
        lower = upper
    return ranges


def _shown(texts: Texts) -> str:
    return ", ".join(shortened(text, LABEL_PART) for text in texts)


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
