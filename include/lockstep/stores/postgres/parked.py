"""What is parked in a database, as housekeeping sees it; and removed for good once nobody wants it back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import psycopg

from lockstep.domain.errors import Refused
from lockstep.domain.parked import Parked, ParkedKind
from lockstep.stores.postgres.carry import perform
from lockstep.stores.postgres.connect import PIN_NAMES, Connector
from lockstep.stores.postgres.errors import said_by_server, translated
from lockstep.stores.postgres.locks import LOCK_TIMEOUT, waiting
from lockstep.stores.postgres.schema import PARKED, PARKED_COLUMN
from lockstep.stores.postgres.text import Conn, one, run

#: bytes of a table up to which its rows are counted, and not guessed
COUNTED = 8 << 20

#: Whether anything was ever parked here.
IS_THERE = "SELECT to_regclass('lockstep_state.journal') IS NOT NULL"

#: Who parked it, and when: nobody any more, where Lockstep's own schema is gone.
FILED = """
SELECT j.before ->> 'parked' AS parked, j.kind, j.schema_name, j.table_name, j.before ->> 'column' AS col,
       j.run_id, j.written_at, j.id
FROM lockstep_state.journal j WHERE j.kind IN ('park_table', 'park_column')
"""
NOTHING_FILED = """
SELECT NULL::text AS parked, NULL::text AS kind, NULL::text AS schema_name, NULL::text AS table_name,
       NULL::text AS col, NULL::text AS run_id, NULL::timestamptz AS written_at, 0::bigint AS id WHERE false
"""

#: Parked tables: what each is called, whose it was, its bytes with indexes, rows as the statistics say.
TABLES = """
SELECT DISTINCT ON (c.oid) c.oid::bigint, c.oid::regclass::text, c.relname, j.schema_name, j.table_name, j.run_id,
       j.written_at, pg_total_relation_size(c.oid), pg_relation_size(c.oid), c.reltuples::bigint
FROM pg_class c LEFT JOIN ({filed}) AS j ON j.kind = 'park_table' AND j.parked = c.relname
WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind IN ('r', 'p')
ORDER BY c.oid, j.id DESC
"""

#: Parked columns of tables in use: bytes and values that are not null as the statistics say, where the role sees them.
COLUMNS = """
SELECT DISTINCT ON (c.oid, a.attnum) c.oid::regclass::text, a.attname, quote_ident(a.attname), n.nspname, c.relname,
       j.col, j.run_id, j.written_at, pg_relation_size(c.oid), c.reltuples, s.avg_width, s.null_frac
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN ({filed}) AS j ON j.kind = 'park_column' AND j.parked = a.attname
     AND j.schema_name = n.nspname AND j.table_name = c.relname
LEFT JOIN pg_stats s ON s.schemaname = n.nspname AND s.tablename = c.relname AND s.attname = a.attname
     AND NOT s.inherited
WHERE a.attnum > 0 AND NOT a.attisdropped AND starts_with(a.attname, %(prefix)s)
  AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT starts_with(n.nspname, 'lockstep')
ORDER BY c.oid, a.attnum, j.id DESC
"""

#: how what may be removed is called, whatever else is in the name
_RESERVED = {"table": re.compile(rf"{PARKED}\."), "column": re.compile(rf'.*\."?{PARKED_COLUMN}', re.DOTALL)}


def parked(connector: Connector) -> list[Parked]:
    """Return what is parked: tables with all that they hold, columns of tables in use.

    What nobody filed is as old as this look at it.
    """
    with connector.transaction(snapshot=True) as conn:
        run(conn, PIN_NAMES)
        conn_id = connector.address.conn_id
        filed = FILED if one(conn, IS_THERE)[0] else NOTHING_FILED
        tables = run(conn, TABLES.format(filed=filed), {"schema": PARKED}).fetchall()
        columns = run(conn, COLUMNS.format(filed=filed), {"prefix": PARKED_COLUMN}).fetchall()
        return [
            *(_table(conn, conn_id, row) for row in tables),
            *(_column(conn, conn_id, row) for row in columns),
        ]


def remove_parked(connector: Connector, thing: Parked) -> None:
    """Remove a parked table or column for good; gone already is fine.

    Refused for a name that is not reserved, and where something hangs on it; LockTimeout where it is in use.
    """
    _refuse_unreserved(connector, thing.kind, thing.parked_as)
    with connector.transaction() as conn, translated(connector.address):
        run(conn, PIN_NAMES)
        statement = _statement(conn, thing)
        if statement is None:
            return
        try:
            with waiting(connector, conn, LOCK_TIMEOUT, f"removal of {thing.parked_as}", strong=True):
                perform(conn, [statement])
        except psycopg.errors.DependentObjectsStillExist as problem:
            raise Refused(
                f"PostgreSQL, {connector.address}: {thing.parked_as} (it was {thing.resource}) is parked and stays: "
                f"{said_by_server(problem)}. Drop what depends on it, then run housekeeping again.",
                conn_id=connector.address.conn_id,
                parked_as=thing.parked_as,
            ) from problem


def _refuse_unreserved(connector: Connector, kind: ParkedKind, name: str) -> None:
    if kind not in _RESERVED or not _RESERVED[kind].match(name):
        raise Refused(
            f"PostgreSQL, {connector.address}: {name!r} is no parked {kind}: those are in schema {PARKED}, or their "
            f"names start with {PARKED_COLUMN}. Nothing was removed.",
            conn_id=connector.address.conn_id,
            parked_as=name,
        )


def _statement(conn: Conn, thing: Parked) -> str | None:
    """Return what removes it: found by its name among what is parked now, and never by a name that was given."""
    if thing.kind == "table":
        tables = run(conn, TABLES.format(filed=NOTHING_FILED), {"schema": PARKED}).fetchall()
        return next((f"DROP TABLE {name}" for _, name, *_ in tables if name == thing.parked_as), None)
    columns = run(conn, COLUMNS.format(filed=NOTHING_FILED), {"prefix": PARKED_COLUMN}).fetchall()
    for table, _, column, *_ in columns:
        if f"{table}.{column}" == thing.parked_as:
            return f"ALTER TABLE {table} DROP COLUMN {column}"
    return None


def _table(conn: Conn, conn_id: str, row: Any) -> Parked:
    _, name, bare, schema, table, run_id, at, total, size, guess = row
    records = None if guess < 0 else guess
    if size <= COUNTED:
        records = _counted(conn, "SELECT count(*) FROM {table}", {"table": name})
    was = bare if table is None else _slug(schema, table)
    return _parked(conn_id, "table", was, name, at, run_id, int(total), records)


def _column(conn: Conn, conn_id: str, row: Any) -> Parked:
    table, bare, column, schema, relname, was, run_id, at, size, guess, width, empty = row
    held = None
    if width is not None and guess >= 0:
        held = guess * (1.0 - empty)
    records = None if held is None else round(held)
    if size <= COUNTED:
        records = _counted(conn, "SELECT count({column}) FROM {table}", {"column": column, "table": table})
    known = f"{_slug(schema, relname)}.{was or bare}"
    taken = None if held is None else round(held * width)
    return _parked(conn_id, "column", known, f"{table}.{column}", at, run_id, taken, records)


def _counted(conn: Conn, statement: str, names: Mapping[str, str]) -> int | None:
    """Count, unless the role may not read it."""
    try:
        with conn.transaction():
            counted: int = one(conn, statement.format(**{k: v.replace("%", "%%") for k, v in names.items()}))[
                0
            ]
    except psycopg.errors.InsufficientPrivilege:
        return None
    return counted


def _parked(
    conn_id: str,
    kind: ParkedKind,
    resource: str,
    name: str,
    at: datetime | None,
    run_id: str | None,
    size: int | None,
    records: int | None,
) -> Parked:
    return Parked(
        conn_id=conn_id,
        kind=kind,
        resource=resource,
        parked_as=name,
        parked_at=at or datetime.now(timezone.utc),
        run_id=run_id,
        bytes=size,
        records=records,
    )


def _slug(schema: str, name: str) -> str:
    return name if schema == "public" else f"{schema}.{name}"
