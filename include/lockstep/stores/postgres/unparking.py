"""What is parked here and in use in a backup: given its name back, rather than made a second time."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from lockstep.domain.resources import Table
from lockstep.stores.postgres.park import move_home, unpark_column
from lockstep.stores.postgres.schema import PARKED
from lockstep.stores.postgres.shape import shape_of
from lockstep.stores.postgres.text import Conn, one, run

#: Whether anything was ever parked here.
IS_THERE = "SELECT to_regclass('lockstep_state.journal') IS NOT NULL"

#: The newest of a table that is parked still; not one that was written anew, whose successor is in use.
PARKED_TABLE = """
SELECT j.id, j.before FROM lockstep_state.journal j
JOIN pg_class c ON c.relname = j.before ->> 'parked'
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = %(parked)s
WHERE j.kind = 'park_table' AND NOT j.taken_back AND NOT j.before ? 'rewritten'
  AND j.schema_name = %(schema)s AND j.table_name = %(name)s
ORDER BY j.id DESC LIMIT 1
"""

#: The newest of each column of a table that is parked still.
PARKED_COLUMNS = """
SELECT DISTINCT ON (j.before ->> 'column') j.before ->> 'column', j.id, j.before FROM lockstep_state.journal j
JOIN pg_attribute a ON a.attrelid = %(oid)s::oid AND a.attname = j.before ->> 'parked' AND NOT a.attisdropped
WHERE j.kind = 'park_column' AND NOT j.taken_back AND j.schema_name = %(schema)s AND j.table_name = %(name)s
ORDER BY j.before ->> 'column', j.id DESC
"""

#: It is not parked any more.
FLIP = "UPDATE lockstep_state.journal SET taken_back = true WHERE id = %(id)s"


def unpark(conn: Conn, there: Conn, tables: Sequence[Table]) -> None:
    """Give parked tables and columns their names back where the backup has them in use.

    Views, foreign keys and grants that went with them come back with them. What cannot come back, since its name
    is taken or rows came without a value, stays parked.
    """
    if not one(conn, IS_THERE)[0]:
        return
    for table in tables:
        then = shape_of(there, table)
        if then is None:
            continue
        params = {"schema": table.schema, "name": table.name, "parked": PARKED}
        if shape_of(conn, table) is None:
            _home(conn, table, params)
        now = shape_of(conn, table)
        if now is None:
            continue
        used = {column.name for column in then.columns} - {column.name for column in now.columns}
        for column, number, before in run(conn, PARKED_COLUMNS, {**params, "oid": now.oid}).fetchall():
            if column in used:
                _column(conn, table, number, before)


def _home(conn: Conn, table: Table, params: dict[str, str]) -> None:
    found = run(conn, PARKED_TABLE, params).fetchone()
    if found is None:
        return
    number, before = found
    try:
        with conn.transaction():
            move_home(conn, table, before)
            run(conn, FLIP, {"id": number})
    except psycopg.errors.DuplicateTable:
        return


def _column(conn: Conn, table: Table, number: int, before: dict[str, str]) -> None:
    try:
        with conn.transaction():
            unpark_column(conn, table, before, fill=False)
            run(conn, FLIP, {"id": number})
    except (psycopg.errors.NotNullViolation, psycopg.errors.DuplicateObject):
        return
