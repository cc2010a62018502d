"""What a step did, taken back from the journal: newest first, and only where it still is as the step left it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.domain.errors import ConflictError
from lockstep.domain.exchange import TakenBack
from lockstep.domain.resources import Postgres, Table
from lockstep.stores.postgres.park import unpark_column, unpark_table
from lockstep.stores.postgres.ranges import alias_of, between, same_key
from lockstep.stores.postgres.shape import Column, Shape, keyed, shape_of
from lockstep.stores.postgres.text import Conn, listed, one, quote, run

#: The newest records that were not taken back, and one more that tells whether there are more. Locked, so
#: that two who take back the same step go one after the other.
PICK = """
SELECT id, kind, schema_name, table_name, key FROM lockstep_state.journal
WHERE run_id = %(run_id)s AND step = %(step)s AND NOT taken_back
ORDER BY id DESC LIMIT %(most)s FOR UPDATE
"""

#: The columns that these records are about.
COLUMNS = """
SELECT DISTINCT jsonb_object_keys(coalesce(before, after)) FROM lockstep_state.journal
WHERE id = ANY(%(ids)s::bigint[])
"""

#: Records of a table, or of columns, that are gone: with them went what the step did there.
FLIP_ALL = "UPDATE lockstep_state.journal SET taken_back = true WHERE id = ANY(%(ids)s::bigint[])"

#: What was remembered of a parked thing.
BEFORE = "SELECT before FROM lockstep_state.journal WHERE id = %(id)s"

#: A parked thing has its name back.
FLIP = "UPDATE lockstep_state.journal SET taken_back = true WHERE id = %(id)s"

#: Decide over each record by what the row is now, act on it, and say so in the journal, in one statement.
#: A row that is as the step left it is put back; one that already is as it was before counts as put back;
#: any other is left alone. Rows are locked while they are looked at.
TAKE_BACK = """
WITH "_lockstep_picked" AS MATERIALIZED (
    SELECT id, key, before - %(gone)s::text[] AS before, after - %(gone)s::text[] AS after, {keys}
    FROM lockstep_state.journal WHERE id = ANY(%(ids)s::bigint[])
), "_lockstep_seen" AS MATERIALIZED (
    SELECT p.id, jsonb_object(%(image)s::text[], ARRAY[{texts}]::text[]) AS now, {referenced} AS referenced
    FROM "_lockstep_picked" AS p JOIN {table} AS t ON {same_key}
    WHERE {near} FOR {lock} OF t
), "_lockstep_verdict" AS MATERIALIZED (
    SELECT p.*, {verdict} AS verdict
    FROM "_lockstep_picked" AS p LEFT JOIN "_lockstep_seen" AS s ON s.id = p.id
), "_lockstep_done" AS (
    {act}
), "_lockstep_flip" AS (
    UPDATE lockstep_state.journal AS j SET taken_back = true, conflict = (v.verdict = 'conflict')
    FROM "_lockstep_verdict" AS v WHERE j.id = v.id
)
SELECT count(*) FILTER (WHERE verdict <> 'conflict'),
       coalesce(jsonb_agg(key ORDER BY id DESC) FILTER (WHERE verdict = 'conflict'), '[]')
FROM "_lockstep_verdict"
"""

OF_UPDATE = """
CASE WHEN s.now @> p.after THEN 'act' WHEN s.now @> p.before THEN 'already' ELSE 'conflict' END
"""

#: An inserted row that others refer to by now is no longer only the step's.
OF_INSERT = """
CASE WHEN s.id IS NULL THEN 'already' WHEN s.now @> p.after AND NOT s.referenced THEN 'act' ELSE 'conflict' END
"""

PUT_BACK = """
UPDATE {table} AS t SET {sets} FROM "_lockstep_verdict" AS v
WHERE v.verdict = 'act' AND {same_key} AND {near}
"""

REMOVE = """
DELETE FROM {table} AS t USING "_lockstep_verdict" AS v
WHERE v.verdict = 'act' AND {same_key} AND {near}
"""

#: Who refers to a table, and by which columns; a partition's own copies of a key left out.
REFERENCES = """
SELECT n.nspname, c.relname, f.conrelid = f.confrelid,
       ARRAY(SELECT a.attname::text FROM unnest(f.conkey) WITH ORDINALITY AS k (num, place)
             JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num ORDER BY k.place),
       ARRAY(SELECT a.attname::text FROM unnest(f.confkey) WITH ORDINALITY AS k (num, place)
             JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.num ORDER BY k.place)
FROM pg_constraint f
JOIN pg_class c ON c.oid = f.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE f.contype = 'f' AND f.confrelid = %(oid)s::oid AND f.conparentid = 0
"""


@dataclass(frozen=True, kw_only=True)
class _Slice:
    """Records that one statement can take back: of one kind and table, no key twice."""

    kind: str
    schema: str
    name: str
    ids: tuple[int, ...]


def take_back(
    conn: Conn, database: Postgres, run_id: str, step: int, *, limit: int, strict: bool
) -> TakenBack:
    """Take back the last `limit` records of a step, or the last thing that it parked."""
    picked = run(conn, PICK, {"run_id": run_id, "step": step, "most": limit + 1}).fetchall()
    more = len(picked) > limit
    restored, conflicts, handled = 0, [], 0
    for part in _slices(picked[:limit]):
        table = Table(database, part.name, schema=part.schema)
        if part.kind.startswith("park_"):
            if handled:  # a parked thing is a batch of its own
                more = True
                break
            _unpark(conn, table, part)
            restored, handled, more = 1, 1, len(picked) > 1
            break
        if shape_of(conn, table) is None:
            run(conn, FLIP_ALL, {"ids": list(part.ids)})
            put_back, found = len(part.ids), list[str]()
        else:
            put_back, found = _take_back(conn, keyed(conn, table), part)
        restored, handled = restored + put_back, handled + len(part.ids)
        if found and strict:
            raise ConflictError(resource=str(table), keys=tuple(found), doing=f"taking back step {step}")
        conflicts += [key if part.name == picked[0][3] else f"{table.slug}: {key}" for key in found]
    return TakenBack(restored=restored, conflicts=tuple(conflicts), last=not more)


def _slices(picked: Sequence[tuple[Any, ...]]) -> Iterator[_Slice]:
    """Cut records into runs of one kind and table; a key that comes again begins another."""
    ids: list[int] = []
    keys: set[str] = set()
    about: tuple[str, str, str] | None = None
    for number, *rest, key in picked:
        told = json.dumps(key)
        if about != tuple(rest) or told in keys or rest[0].startswith("park_"):
            if about is not None:
                yield _Slice(kind=about[0], schema=about[1], name=about[2], ids=tuple(ids))
            ids, keys, about = [], set(), (rest[0], rest[1], rest[2])
        ids.append(number)
        keys.add(told)
    if about is not None:
        yield _Slice(kind=about[0], schema=about[1], name=about[2], ids=tuple(ids))


def _unpark(conn: Conn, table: Table, part: _Slice) -> None:
    before = one(conn, BEFORE, {"id": part.ids[0]})[0]
    if part.kind == "park_table":
        unpark_table(conn, table, before)
    else:
        unpark_column(conn, table, before)
    run(conn, FLIP, {"id": part.ids[0]})


def _take_back(conn: Conn, shape: Shape, part: _Slice) -> tuple[int, list[str]]:
    """Take back one run of records; return how many, and the keys of those left alone.

    A column that is gone took the step's work on it along; the rest of the record is still taken back.
    """
    params: dict[str, Any] = {"ids": list(part.ids)}
    there = {column.name for column in shape.columns}
    named = [name for (name,) in run(conn, COLUMNS, params)]
    columns = [shape.column(name) for name in named if name in there]
    params["gone"] = [name for name in named if name not in there]
    if not columns:
        run(conn, FLIP_ALL, params)
        return len(part.ids), []
    params["image"] = [column.name for column in columns]
    places = range(len(shape.key))
    aliases = [alias_of(place) for place in places]
    parts = {
        "table": shape.sql,
        "near": between(shape, "t.", '"_lockstep_picked"', aliases),
    }
    if part.kind == "update":
        params |= {f"c{place}": column.name for place, column in enumerate(columns)}
        sets = listed(f"{column.sql} = {_former(column, place)}" for place, column in enumerate(columns))
        act = PUT_BACK.format(sets=sets, same_key=same_key(shape, "t.", "v."), **parts)
        verdict, lock, referenced = OF_UPDATE, "NO KEY UPDATE", "false"
    else:
        act = REMOVE.format(same_key=same_key(shape, "t.", "v."), **parts)
        verdict, lock, referenced = OF_INSERT, "UPDATE", _referenced(conn, shape)
    statement = TAKE_BACK.format(
        keys=listed(
            f"{column.cast(f'key ->> {place}')} AS {alias_of(place)}"
            for place, column in enumerate(shape.key)
        ),
        texts=listed(column.text("t.") for column in columns),
        same_key=same_key(shape, "t.", "p."),
        verdict=verdict,
        lock=lock,
        referenced=referenced,
        act=act,
        **parts,
    )
    restored, conflicts = one(conn, statement, params)
    return restored, [", ".join(key) for key in conflicts]


def _former(column: Column, place: int) -> str:
    """Return the expression of a column's former value; its present one where the record is not about it."""
    name = f"CAST(%(c{place})s AS text)"
    return f"CASE WHEN v.before ? {name} THEN {column.cast(f'v.before ->> {name}')} ELSE t.{column.sql} END"


def _referenced(conn: Conn, shape: Shape) -> str:
    """Return the condition that rows beyond those taken back refer to a row."""
    found = []
    for schema, name, itself, theirs, ours in run(conn, REFERENCES, {"oid": shape.oid}):
        join = " AND ".join(f"r.{quote(a)} = t.{quote(b)}" for a, b in zip(theirs, ours, strict=True))
        beyond = (
            f'AND NOT EXISTS (SELECT FROM "_lockstep_picked" AS q WHERE {same_key(shape, "r.", "q.")})'
            if itself
            else ""
        )
        found.append(f"EXISTS (SELECT FROM {quote(schema, name)} AS r WHERE {join} {beyond})")
    return f"({' OR '.join(found)})" if found else "false"
