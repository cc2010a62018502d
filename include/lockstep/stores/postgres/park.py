"""Tables and columns taken out of use with all that they hold, and given their names back."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from psycopg.types.json import Jsonb

from lockstep.domain.errors import DataError, Refused
from lockstep.domain.resources import Table
from lockstep.stores.postgres.connect import PIN_NAMES
from lockstep.stores.postgres.journal import FILE_PARKED, Filing
from lockstep.stores.postgres.schema import PARKED, PARKED_COLUMN
from lockstep.stores.postgres.shape import Shape, existing, shape_of
from lockstep.stores.postgres.text import Conn, one, quote, run

#: Names that move with a table and may be taken where it goes: indexes and the sequences its columns own.
COMPANIONS = """
SELECT c.relkind::text, c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = %(oid)s::oid
UNION ALL
SELECT c.relkind::text, c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = %(oid)s::oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
ORDER BY 1, 2
"""

#: What a column must be given back: NOT NULL (and, since PostgreSQL 18, that constraint's name, words, whether it was
#: found to hold, comment), default.
COLUMN = """
SELECT a.attnotnull, pg_get_expr(d.adbin, d.adrelid), k.conname, pg_get_constraintdef(k.oid),
       coalesce(k.convalidated, true), quote_literal(obj_description(k.oid, 'pg_constraint'))
FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_constraint k ON k.conrelid = a.attrelid AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum]
WHERE a.attrelid = %(oid)s::oid AND a.attname = %(name)s
"""

#: Whether this was parked by this step already.
FILED = """
SELECT EXISTS (
    SELECT FROM lockstep_state.journal
    WHERE run_id = %(j_run)s AND step = %(j_step)s AND kind = %(j_kind)s AND NOT taken_back
      AND schema_name = %(j_schema)s AND table_name = %(j_table)s AND before @> %(what)s
)
"""

#: Rows that came while the column was parked, and have nothing in it.
EMPTY = "SELECT count(*) FROM {table} WHERE {column} IS NULL"

#: Give them what they would have got.
FILL = "UPDATE {table} SET {column} = DEFAULT WHERE {column} IS NULL"

#: Whether a relation of that name is there.
TAKEN = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = %(schema)s AND c.relname = %(name)s)
"""

#: Whether a table has a column of that name, in use or parked.
HAS_COLUMN = """
SELECT EXISTS (SELECT FROM pg_attribute
               WHERE attrelid = %(oid)s::oid AND attname = %(name)s AND NOT attisdropped)
"""

_KINDS = {"i": "INDEX", "I": "INDEX", "S": "SEQUENCE"}


def park_table(conn: Conn, table: Table, filing: Filing) -> None:
    """Move a table to schema lockstep_parked under a name of its own, indexes and sequences with it."""
    params = {**filing.params("park_table", table), "what": Jsonb({})}
    shape = shape_of(conn, table)
    if shape is None and one(conn, FILED, params)[0]:
        return
    shape = shape or existing(conn, table)
    if shape.kind != "r":
        raise DataError(
            f"{table} cannot be parked: only an ordinary table moves with all that it holds, and this one is "
            "partitioned or no table. Use ops.sql on it.",
            table=table.slug,
        )
    run(conn, FILE_PARKED, {**params, "before": Jsonb(move_away(conn, table, shape.oid, filing))})


def move_away(conn: Conn, table: Table, oid: int, filing: Filing) -> dict[str, Any]:
    """Move an ordinary table to schema lockstep_parked; return what moves it home."""
    parked = _name("r", filing.step, table.schema, table.name)
    if one(conn, TAKEN, {"schema": PARKED, "name": parked})[0]:
        parked = _name("r", filing.step, table.schema, table.name, apart=filing.run_id)
    companions = []
    # Renamed before they move: where they go, another parked table's index may have the same name.
    for place, (kind, name) in enumerate(run(conn, COMPANIONS, {"oid": oid}).fetchall()):
        there = _fitted(f"{parked[:20]}_{place}", name)
        companions.append([_KINDS[kind], name, there])
        run(conn, f"ALTER {_KINDS[kind]} {quote(table.schema, name)} RENAME TO {quote(there)}")
    run(conn, f"ALTER TABLE {quote(table.schema, table.name)} RENAME TO {quote(parked)}")
    run(conn, f"ALTER TABLE {quote(table.schema, parked)} SET SCHEMA {quote(PARKED)}")
    return {"parked": parked, "companions": companions}


def unpark_table(conn: Conn, table: Table, before: Mapping[str, Any]) -> None:
    """Give a parked table its place and its names back; Refused where they are taken."""
    parked = before["parked"]
    require_parked(conn, table, parked)
    if one(conn, TAKEN, {"schema": table.schema, "name": table.name})[0]:
        raise Refused(
            f"{table} exists again, so that the parked one ({PARKED}.{parked}) cannot take its name back. "
            "Rename or drop it, then clear the failed task.",
            table=table.slug,
        )
    move_home(conn, table, before)


def require_parked(conn: Conn, table: Table, parked: str) -> None:
    """Raise DataError where a parked table is gone."""
    if not one(conn, TAKEN, {"schema": PARKED, "name": parked})[0]:
        raise DataError(
            f"{table}: its parked table {PARKED}.{parked} is gone. Restore the table from the run's backup.",
            table=table.slug,
        )


def move_home(conn: Conn, table: Table, before: Mapping[str, Any]) -> None:
    """Move a parked table to its place; its name and its companions' names must be free."""
    parked = before["parked"]
    run(conn, f"ALTER TABLE {quote(PARKED, parked)} SET SCHEMA {quote(table.schema)}")
    run(conn, f"ALTER TABLE {quote(table.schema, parked)} RENAME TO {quote(table.name)}")
    for kind, name, there in before["companions"]:
        run(conn, f"ALTER {kind} {quote(table.schema, there)} RENAME TO {quote(name)}")


def park_column(conn: Conn, table: Table, column: str, filing: Filing) -> None:
    """Rename a column to a reserved name; without NOT NULL and default, so that nobody has to know of it."""
    shape = existing(conn, table)
    params = filing.params("park_column", table)
    missing = all(known.name != column for known in shape.columns)
    if missing and one(conn, FILED, {**params, "what": Jsonb({"column": column})})[0]:
        return
    known = shape.column(column)
    if known in shape.key:
        raise DataError(
            f"{table}: column {column!r} is part of the primary key; without it no row can be told from "
            "another. Move the key to other columns first.",
            table=table.slug,
            column=column,
        )
    # Names in a default are qualified only when the search path is empty.
    with conn.transaction(force_rollback=True):
        run(conn, PIN_NAMES)
        not_null, default, constraint, words, validated, said = one(
            conn, COLUMN, {"oid": shape.oid, "name": column}
        )
    # The server fills these itself, and an identity is nothing without NOT NULL.
    if known.identity or known.generated:
        not_null, default = False, None
    parked = _name(PARKED_COLUMN, filing.step, table.schema, table.name, column)
    if one(conn, HAS_COLUMN, {"oid": shape.oid, "name": parked})[0]:
        parked = _name(PARKED_COLUMN, filing.step, table.schema, table.name, column, apart=filing.run_id)
    run(conn, f"ALTER TABLE {shape.sql} RENAME COLUMN {known.sql} TO {quote(parked)}")
    if not_null:
        run(conn, f"ALTER TABLE {shape.sql} ALTER COLUMN {quote(parked)} DROP NOT NULL")
    if default is not None:
        run(conn, f"ALTER TABLE {shape.sql} ALTER COLUMN {quote(parked)} DROP DEFAULT")
    before = {
        "parked": parked,
        "column": column,
        "not_null": not_null,
        "default": default,
        "constraint": constraint,
        "definition": words,
        "validated": validated,
        "comment": said,
    }
    run(conn, FILE_PARKED, {**params, "before": Jsonb(before)})


def unpark_column(conn: Conn, table: Table, before: Mapping[str, Any], *, fill: bool = True) -> None:
    """Give a parked column its name, default and NOT NULL back.

    Rows that came while it was parked get its default where it must not be null; DataError without one. Without
    `fill` they are left for the server to refuse.
    """
    shape = existing(conn, table)
    column = before["column"]
    if any(known.name == column for known in shape.columns):
        raise Refused(
            f"{table} has a column {column!r} again, so that the parked one ({before['parked']}) cannot take "
            "its name back. Rename or drop it, then clear the failed task.",
            table=table.slug,
            column=column,
        )
    alter = f"ALTER TABLE {shape.sql}"
    run(conn, f"{alter} RENAME COLUMN {quote(before['parked'])} TO {quote(column)}")
    name = quote(column)
    if before["default"] is not None:
        default = before["default"].replace("%", "%%")
        run(conn, f"{alter} ALTER COLUMN {name} SET DEFAULT {default}")
    if not before["not_null"]:
        return
    if fill and before.get("validated", True):
        _fill(conn, shape, column, has_default=before["default"] is not None)
    if before["constraint"] is None:
        run(conn, f"{alter} ALTER COLUMN {name} SET NOT NULL")
        return
    # Written before its words were kept: the plain ones.
    words = before["definition"].replace("%", "%%") if "definition" in before else f"NOT NULL {name}"
    constraint = quote(before["constraint"])
    run(conn, f"{alter} ADD CONSTRAINT {constraint} {words}")
    if before.get("comment") is not None:
        said = before["comment"].replace("%", "%%")
        run(conn, f"COMMENT ON CONSTRAINT {constraint} ON {shape.sql} IS {said}")


def _fill(conn: Conn, shape: Shape, column: str, *, has_default: bool) -> None:
    parts = {"table": shape.sql, "column": quote(column)}
    if has_default:
        run(conn, FILL.format(**parts))
    empty = one(conn, EMPTY.format(**parts))[0]
    if empty:
        raise DataError(
            f"{shape.table}: {empty} row(s) were inserted while column {column!r} was out of use, and it must "
            f"not be null. Give them a value, in the parked column, then clear the failed task.",
            table=shape.table.slug,
            column=column,
            rows=empty,
        )


def _name(prefix: str, step: int, *names: str, apart: str = "") -> str:
    """Return a name that tells of what is parked: the same at every run, unless `apart` sets it apart."""
    told = "\0".join((apart, str(step), *names))
    mark = sha256(told.encode()).hexdigest()[:10]
    return _fitted(f"{prefix}{mark}_{step}", names[-1])


def _fitted(prefix: str, name: str) -> str:
    """Return both within PostgreSQL's 63 bytes, whole characters only."""
    return f"{prefix}__{name}".encode()[:63].decode(errors="ignore")
