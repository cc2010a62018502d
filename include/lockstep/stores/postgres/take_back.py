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
from lockstep.stores.postgres.swap_back import swap_back
from lockstep.stores.postgres.text import Conn, listed, one, quote, run

#: What the newest record is of.
NEWEST = """
SELECT kind FROM lockstep_state.journal
WHERE run_id = %(run_id)s AND step = %(step)s AND NOT taken_back ORDER BY id DESC LIMIT 1
"""

#: The newest records that were not taken back, and one more that tells whether there are more. Locked, so
#: that two who take back the same step go one after the other.
PICK = """
SELECT id, kind, schema_name, table_name, key FROM lockstep_state.journal
WHERE run_id = %(run_id)s AND step = %(step)s AND NOT taken_back
ORDER BY id DESC LIMIT %(most)s FOR UPDATE
"""

#: A slice of them: nothing else of the step lies between its first and last. Not by the ids one by one: as
#: the journal grows, that would come to reading all of it for each batch.
SLICE = """
run_id = %(run_id)s AND step = %(step)s AND NOT taken_back AND id BETWEEN %(first)s AND %(last)s
"""

#: The columns that these records are about.
COLUMNS = (
    f"SELECT DISTINCT jsonb_object_keys(coalesce(before, after)) FROM lockstep_state.journal WHERE {SLICE}"
)

#: Records of a table, or of columns, that are gone: with them went what the step did there.
FLIP_ALL = f"UPDATE lockstep_state.journal SET taken_back = true WHERE {SLICE}"

#: What was remembered of a parked thing.
BEFORE = "SELECT before FROM lockstep_state.journal WHERE id = %(id)s"

#: A parked thing has its name back.
FLIP = "UPDATE lockstep_state.journal SET taken_back = true WHERE id = %(id)s"

#: The records of a slice, their keys as the table's types.
PICKED = """
WITH "_lockstep_picked" AS MATERIALIZED (
    SELECT id, key, before - %(gone)s::text[] AS before, after - %(gone)s::text[] AS after, {keys}
    FROM lockstep_state.journal WHERE {slice}
)
"""

#: Hold their rows, so that they stay as the next statement finds them.
HOLD = (
    PICKED
    + """
SELECT count(*) FROM (
    SELECT FROM "_lockstep_picked" AS p JOIN {table} AS t ON {same_key} WHERE {near} FOR {lock} OF t
) AS held
"""
)

#: Decide over each record by what the row is now, and act on it. A row that is as the step left it is put
#: back; one that already is as it was before counts as put back; any other is left alone. One join by key, and
#: no other: what the planner guesses of a journal that grew since it was analyzed is far too little for more.
TAKE_BACK = (
    PICKED
    + """
, "_lockstep_verdict" AS MATERIALIZED (
    SELECT p.*, {verdict} AS verdict
    FROM "_lockstep_picked" AS p LEFT JOIN {table} AS t ON {same_key} AND {near}
), "_lockstep_done" AS (
    {act}
)
SELECT count(*) FILTER (WHERE verdict <> 'conflict'),
       coalesce(jsonb_agg(key ORDER BY id DESC) FILTER (WHERE verdict = 'conflict'), '[]'),
       array_agg(id) FILTER (WHERE verdict = 'conflict')
FROM "_lockstep_verdict"
"""
)

#: Remember which were left alone.
FLAG = "UPDATE lockstep_state.journal SET conflict = true WHERE id = ANY(%(conflicts)s::bigint[])"

#: What the row is now, as far as the records are about it.
NOW = "jsonb_object(%(image)s::text[], ARRAY[{texts}]::text[])"

OF_UPDATE = """
CASE WHEN {gone} THEN 'conflict' WHEN {now} @> p.after THEN 'act' WHEN {now} @> p.before THEN 'already'
     ELSE 'conflict' END
"""

#: An inserted row that others refer to by now is no longer only the step's.
OF_INSERT = """
CASE WHEN {gone} THEN 'already' WHEN {now} @> p.after AND NOT {referenced} THEN 'act' ELSE 'conflict' END
"""

PUT_BACK = """
UPDATE {table} AS t SET {sets} FROM "_lockstep_verdict" AS v
WHERE v.verdict = 'act' AND {same_verdict} AND {near}
"""

REMOVE = """
DELETE FROM {table} AS t USING "_lockstep_verdict" AS v
WHERE v.verdict = 'act' AND {same_verdict} AND {near}
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

    run_id: str
    step: int
    kind: str
    schema: str
    name: str
    #: journal ids, newest first
    ids: tuple[int, ...]

    @property
    def params(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "step": self.step, "first": self.ids[-1], "last": self.ids[0]}


def take_back(
    conn: Conn, database: Postgres, run_id: str, step: int, *, limit: int, strict: bool
) -> TakenBack:
    """Take back the last `limit` records of a step, or the last thing that it parked."""
    picked = run(conn, PICK, {"run_id": run_id, "step": step, "most": limit + 1}).fetchall()
    more = len(picked) > limit
    restored, handled = 0, 0
    conflicts: list[str] = []
    for part in _slices(run_id, step, picked[:limit]):
        table = Table(database, part.name, schema=part.schema)
        if part.kind.startswith("park_"):
            if handled:  # a parked thing is a batch of its own
                more = True
                break
            restored, changed = _unpark(conn, table, part, strict=strict)
            conflicts += changed
            handled, more = 1, len(picked) > 1
            break
        if shape_of(conn, table) is None:
            run(conn, FLIP_ALL, part.params)
            put_back, found = len(part.ids), list[str]()
        else:
            put_back, found = _take_back(conn, keyed(conn, table), part)
        restored, handled = restored + put_back, handled + len(part.ids)
        if found and strict:
            raise ConflictError(resource=str(table), keys=tuple(found), doing=f"taking back step {step}")
        conflicts += [key if part.name == picked[0][3] else f"{table.slug}: {key}" for key in found]
    return TakenBack(restored=restored, conflicts=tuple(conflicts), last=not more)


def is_structural(conn: Conn, run_id: str, step: int) -> bool:
    """Tell whether the next batch gives a table or a column its name back, and so locks a table for itself."""
    row = run(conn, NEWEST, {"run_id": run_id, "step": step}).fetchone()
    return row is not None and row[0] not in ("update", "insert")


def _slices(run_id: str, step: int, picked: Sequence[tuple[Any, ...]]) -> Iterator[_Slice]:
    """Cut records into runs of one kind and table; a key that comes again begins another."""

    def cut() -> _Slice:
        kind, schema, name = about
        return _Slice(run_id=run_id, step=step, kind=kind, schema=schema, name=name, ids=tuple(ids))

    ids: list[int] = []
    keys: set[str] = set()
    about: tuple[str, ...] = ()
    for number, *rest, key in picked:
        told = json.dumps(key)
        if ids and (about != tuple(rest) or told in keys or rest[0].startswith("park_")):
            yield cut()
            ids, keys = [], set()
        about = tuple(rest)
        ids.append(number)
        keys.add(told)
    if ids:
        yield cut()


def _unpark(conn: Conn, table: Table, part: _Slice, *, strict: bool) -> tuple[int, tuple[str, ...]]:
    """Take back what one record parked; return what was restored, and the keys of rows left alone."""
    before = one(conn, BEFORE, {"id": part.ids[0]})[0]
    restored = 1
    changed: tuple[str, ...] = ()
    if "rewritten" in before:
        restored, changed = swap_back(conn, table, before, strict=strict)
    elif part.kind == "park_table":
        unpark_table(conn, table, before)
    else:
        unpark_column(conn, table, before)
    run(conn, FLIP, {"id": part.ids[0]})
    return restored, changed


def _take_back(conn: Conn, shape: Shape, part: _Slice) -> tuple[int, list[str]]:
    """Take back one run of records; return how many, and the keys of those left alone.

    A column that is gone took the step's work on it along; the rest of the record is still taken back.
    """
    params = part.params
    there = {column.name for column in shape.columns}
    named = [name for (name,) in run(conn, COLUMNS, params)]
    columns = [shape.column(name) for name in named if name in there]
    params["gone"] = [name for name in named if name not in there]
    if not columns:
        run(conn, FLIP_ALL, params)
        return len(part.ids), []
    params["image"] = [column.name for column in columns]
    aliases = [alias_of(place) for place in range(len(shape.key))]
    now = NOW.format(texts=listed(column.text("t.") for column in columns))
    parts = {
        "table": shape.sql,
        "slice": SLICE,
        "keys": listed(
            f"{column.cast(f'key ->> {place}')} AS {alias}"
            for place, (column, alias) in enumerate(zip(shape.key, aliases, strict=True))
        ),
        "same_key": same_key(shape, "t.", "p."),
        "same_verdict": same_key(shape, "t.", "v."),
        "near": between(shape, "t.", '"_lockstep_picked"', aliases),
        "gone": f"t.{shape.key[0].sql} IS NULL",
        "now": now,
    }
    if part.kind == "update":
        params |= {f"c{place}": column.name for place, column in enumerate(columns)}
        sets = listed(f"{column.sql} = {_former(column, place)}" for place, column in enumerate(columns))
        lock, verdict, act = "NO KEY UPDATE", OF_UPDATE.format(**parts), PUT_BACK.format(sets=sets, **parts)
    else:
        referenced = _referenced(conn, shape)
        lock, verdict, act = (
            "UPDATE",
            OF_INSERT.format(referenced=referenced, **parts),
            REMOVE.format(**parts),
        )
    run(conn, HOLD.format(lock=lock, **parts), params)
    statement = TAKE_BACK.format(verdict=verdict, act=act, **parts)
    restored, conflicts, left = one(conn, statement, params)
    run(conn, FLIP_ALL, params)
    if left:
        run(conn, FLAG, {"conflicts": left})
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
