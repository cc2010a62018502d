"""A table made anew as it is in a backup, by pg_dump's own words, and given what hung on the one it replaces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import psycopg

from lockstep.domain.errors import Refused
from lockstep.domain.resources import Table
from lockstep.stores.postgres import carry
from lockstep.stores.postgres.adopt_rows import copy_over
from lockstep.stores.postgres.adopt_table import Adopting
from lockstep.stores.postgres.carry import ident, perform
from lockstep.stores.postgres.carry_after import Grants
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.errors import said_by_server
from lockstep.stores.postgres.park import COMPANIONS
from lockstep.stores.postgres.programs import dbname, failed, find_program, running
from lockstep.stores.postgres.text import Conn, one, run

#: Who owns a table.
OWNER = "SELECT relowner::regrole::text FROM pg_class WHERE oid = %(oid)s::oid"

#: NOT NULL constraints: they have names since PostgreSQL 18, which the server chooses apart from all in the schema.
NOT_NULLS = "SELECT conname FROM pg_constraint WHERE conrelid = %(oid)s::oid AND contype = 'n' ORDER BY oid"

#: What a table has, in the server's quoting: its columns, and the sequences that they own.
COLUMNS = """
SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = %(oid)s::oid AND attnum > 0 AND NOT attisdropped
"""
SEQUENCES = """
SELECT s.oid::regclass::text FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = to_regclass(%(table)s) AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i') ORDER BY 1
"""

#: Extended statistics, which pg_dump does not tell of a single table; and each one's name.
STATISTICS = """
SELECT 1, replace(pg_get_statisticsobjdef(oid), 'CREATE STATISTICS ', 'CREATE STATISTICS IF NOT EXISTS ')
FROM pg_statistic_ext WHERE stxrelid = to_regclass(%(table)s)
UNION ALL
SELECT 2, 'ALTER STATISTICS ' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname) || ' SET STATISTICS '
       || s.stxstattarget
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE s.stxrelid = to_regclass(%(table)s) AND s.stxstattarget >= 0
UNION ALL
SELECT 3, 'COMMENT ON STATISTICS ' || quote_ident(n.nspname) || '.' || quote_ident(s.stxname) || ' IS '
       || quote_literal(obj_description(s.oid, 'pg_statistic_ext'))
FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
WHERE s.stxrelid = to_regclass(%(table)s) AND obj_description(s.oid, 'pg_statistic_ext') IS NOT NULL
ORDER BY 1
"""

OID = "SELECT to_regclass(%(table)s)::oid::bigint"

#: Where a sequence is; and put one there. Its state is no part of any transaction.
STANDS = "SELECT last_value, is_called FROM {sequence}"
SET = "SELECT setval(%(sequence)s::regclass, %(last)s, %(called)s)"

#: pg_dump sets what its statements depend on for a whole session; ours is others' too, behind a pooler.
_SETS = re.compile(rb"^SET (default_tablespace|default_table_access_method) = ([^;\n]*);$", re.MULTILINE)
_FIRST = re.compile(rb"^--\n-- Name: ", re.MULTILINE)
#: what psql alone understands, around what pg_dump says
_PSQL_ONLY = re.compile(rb"^\\(un)?restrict \w+$", re.MULTILINE)


class Definitions:
    """How tables of a database are made, in pg_dump's words."""

    def __init__(self, source: Connector, pg_bin: Path | None) -> None:
        self._source = source
        self._pg_bin = pg_bin

    def run(self, conn: Conn, section: Literal["pre-data", "post-data"], tables: Sequence[Table]) -> None:
        """Make here, in this transaction, what a section says of tables. The search path must be pinned."""
        if not tables:
            return
        for schema in sorted({table.schema for table in tables}):
            if one(conn, "SELECT to_regnamespace(%(s)s)", {"s": ident(schema)})[0] is None:
                perform(conn, [f"CREATE SCHEMA {ident(schema)}"])
        said = self._said(section, tables)
        first = _FIRST.search(said)
        if first is not None:
            # As bytes, in the encoding that the session has: names and texts are nobody's to decode.
            conn.execute(_SETS.sub(rb"SET LOCAL \1 = \2;", _PSQL_ONLY.sub(b"", said[first.start() :])))

    def _said(self, section: str, tables: Sequence[Table]) -> bytes:
        program = find_program(self._pg_bin)
        params = self._source.params
        command = [
            program.path,
            "--format=plain",
            f"--section={section}",
            "--encoding=UTF8",
            "--no-owner",
            "--no-privileges",
            "--no-publications",
            "--no-subscriptions",
            "--no-password",
            *(f"--table={ident(table.schema, table.name)}" for table in tables),
            dbname(params),
        ]
        with running(command, params) as pg_dump:
            said = pg_dump.out.read()
        if pg_dump.process.returncode:
            raise failed(
                program, pg_dump, self._source, params, "Nothing was changed; mend the cause and try again."
            )
        return said


class Making:
    """One table on its way to be made anew. The search path must be pinned for all of it."""

    def __init__(self, conn: Conn, adopting: Adopting, place: int) -> None:
        self._conn = conn
        self.table = adopting.table
        self._here = ident(adopting.table.schema, adopting.table.name)
        self._aside = f"_lockstep_{place}_before"
        self._old = adopting.here
        self._oid = 0
        if self._old is None:
            return
        self._oid = self._old.oid
        params = {"oid": self._oid}
        self._owner = one(conn, OWNER, params)[0]
        self._grants = Grants(conn, self._oid, owned=True)
        self._views = run(conn, carry.VIEWS, params).fetchall()
        self._publications = run(conn, carry.PUBLICATIONS, params).fetchall()

    @property
    def view_locks(self) -> list[str]:
        """What takes the views that read the table exclusively."""
        return [lock for _, lock, _ in self._views] if self._old else []

    @property
    def view_texts(self) -> list[str]:
        """What makes them read whatever has the table's name by then."""
        return [text for _, _, text in self._views] if self._old else []

    def move_aside(self) -> None:
        """Free the names that the new table and what goes with it will have."""
        if self._old is None:
            return
        conn, schema, params = self._conn, self.table.schema, {"oid": self._oid}
        perform(conn, [leave for leave, _ in self._publications])
        for space, name, *_ in run(conn, carry.STATISTICS, params).fetchall():
            perform(conn, [f"DROP STATISTICS {ident(space, name)}"])
        for place, (kind, name) in enumerate(run(conn, COMPANIONS, params).fetchall()):
            what = "SEQUENCE" if kind == "S" else "INDEX"
            perform(conn, [f"ALTER {what} {ident(schema, name)} RENAME TO {ident(f'{self._aside}_{place}')}"])
        for place, (name,) in enumerate(run(conn, NOT_NULLS, params).fetchall()):
            aside = ident(f"{self._aside}_n{place}")
            perform(conn, [f"ALTER TABLE {self._here} RENAME CONSTRAINT {ident(name)} TO {aside}"])
        perform(conn, [f"ALTER TABLE {self._here} RENAME TO {ident(self._aside)}"])

    def give_back(self, there: Conn) -> None:
        """Give the new table its statistics, and the old one's owner, grants and publications, as far as they fit."""
        conn = self._conn
        with carry.pinned(there):
            statistics = run(there, STATISTICS, {"table": self._here}).fetchall()
        perform(conn, [statement for _, statement in statistics])
        if self._old is None:
            return
        perform(conn, [f"ALTER TABLE {self._here} OWNER TO {self._owner}"])
        oid = one(conn, OID, {"table": self._here})[0]
        columns = [name for (name,) in run(conn, COLUMNS, {"oid": oid})]
        self._grants.keep(columns, [name for (name,) in run(conn, SEQUENCES, {"table": self._here})])
        self._grants.give(conn, oid)
        perform(conn, [join for _, join in self._publications])

    def finish(self) -> None:
        """Drop the old table, which nothing hangs on any more, and learn the new one."""
        if self._old is not None:
            # Not CASCADE: whatever still hangs on it is named by the server, and all of this is undone.
            perform(self._conn, [f"DROP TABLE {ident(self.table.schema, self._aside)}"])
        perform(self._conn, [f"ANALYZE {self._here}"])


def repoint(conn: Conn, making: Sequence[Making]) -> None:
    """Make views read the tables that have the names now; Refused, naming it, for one that does not fit."""
    for text in dict.fromkeys(text for one_of in making for text in one_of.view_texts):
        try:
            perform(conn, [text])
        except (psycopg.errors.SyntaxErrorOrAccessRuleViolation, psycopg.errors.UndefinedColumn) as problem:
            view = text.split(" AS ", 1)[0].removeprefix("CREATE OR REPLACE ").split(" WITH (", 1)[0]
            raise Refused(
                f"{view} does not fit the tables as they were: {said_by_server(problem)}. Nothing was changed. Drop "
                "the view, then try again; make it anew afterwards.",
                view=view,
            ) from problem


def copy_rows(conn: Conn, there: Conn, adopting: Adopting) -> int:
    """Copy a table's rows, parked columns included, into the one that was made anew; return how many."""
    assert adopting.there is not None
    columns = [name for (name,) in run(there, carry.COLUMNS, {"oid": adopting.there.oid})]
    return copy_over(conn, there, adopting.there, columns, ident(adopting.table.schema, adopting.table.name))


def set_sequences(conn: Conn, there: Conn, adopting: Adopting) -> None:
    """Put the sequences that a table's columns own where they are in the backup."""
    if adopting.there is None:
        return
    with carry.pinned(conn), carry.pinned(there):
        params = {"table": ident(adopting.table.schema, adopting.table.name)}
        here = {name for (name,) in run(conn, SEQUENCES, params)}
        for (name,) in run(there, SEQUENCES, params).fetchall():
            if name not in here:
                continue
            sequence = name.replace("%", "%%")
            then = one(there, STANDS.format(sequence=sequence))
            if one(conn, STANDS.format(sequence=sequence)) != then:
                run(conn, SET, {"sequence": name, "last": then[0], "called": then[1]})
