"""A table written anew in one pass and swapped in by name, in one transaction: all of it is there, or nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from lockstep.domain.errors import DataError, Refused, Unsupported
from lockstep.domain.resources import Table
from lockstep.stores.postgres import carry
from lockstep.stores.postgres.carry import ForeignKey, ident, perform, pinned
from lockstep.stores.postgres.carry_after import Grants, afterwards
from lockstep.stores.postgres.errors import said_by_server
from lockstep.stores.postgres.hanging import refuse_unknown
from lockstep.stores.postgres.journal import FILE_PARKED, Filing
from lockstep.stores.postgres.park import FILED, move_away
from lockstep.stores.postgres.portrait import differences, portrait
from lockstep.stores.postgres.schema import PARKED
from lockstep.stores.postgres.shape import Shape, existing, keyed
from lockstep.stores.postgres.text import Conn, given, listed, one, quote, run

#: the first server whose catalogs the queries of a swap know
KNOWN_SINCE = 150000
#: how often the table is asked for, at the end, before all that was written is given up
ATTEMPTS = 5
#: seconds between two of these, in which whoever queued behind us goes on
PAUSE = 1.0

#: Hold writers off while the new table is filled. Readers go on. It excludes itself too, so that two who write
#: one table anew go one after the other instead of locking each other out at the end.
HOLD = "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"

#: Fill the new table in the order of the old one's pages: measured, sorting by key costs more than it gives.
FILL = "INSERT INTO {new} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {table}"

#: The transaction that wrote its rows, as their own mark of it: a savepoint has another number than the whole.
WRITTEN_BY = "SELECT (SELECT xmin::text FROM {new} LIMIT 1), %(new)s::regclass::oid::bigint"

#: A sequence goes on where another one is.
GO_ON = "SELECT setval(%(sequence)s::regclass, last_value, is_called) FROM {of}"

OWNER = "SELECT relowner::regrole::text FROM pg_class WHERE oid = %(oid)s::oid"

#: What was filed when the table was swapped.
FILED_ROWS = """
SELECT (before -> 'rewritten' ->> 'rows')::bigint FROM lockstep_state.journal
WHERE run_id = %(j_run)s AND step = %(j_step)s AND kind = %(j_kind)s AND NOT taken_back
  AND schema_name = %(j_schema)s AND table_name = %(j_table)s AND before ? 'rewritten'
"""


def rewrite_table(conn: Conn, table: Table, assignments: Mapping[str, str], filing: Filing) -> int:
    """Write the table anew, swap it in and park the old one; return rows. Done before by this step: leave it.

    Raises Refused, before anything is done, where something hangs on the table that cannot be carried.
    """
    params = filing.params("park_table", table)
    if one(conn, FILED, {**params, "what": Jsonb({})})[0]:
        return int(one(conn, FILED_ROWS, params)[0])
    if conn.info.server_version < KNOWN_SINCE:
        raise Unsupported(f"{table}: ops.rewrite_table needs PostgreSQL 15 or later. Use ops.update_rows.")
    shape = existing(conn, table)
    with pinned(conn):
        refuse_unknown(conn, shape)
        check_now(conn, table, carry.foreign_keys(conn, shape.oid, incoming=True))
    run(conn, HOLD.format(table=shape.sql))
    shape = keyed(conn, table)
    columns = {column.name for column in map(shape.writable, assignments)}
    if not columns:
        raise DataError(f"{table}: written anew without assignments.", table=table.slug)
    swap = _Swap(conn, table, shape)
    rows = swap.fill(assignments)
    swap.build()
    carried = swap.swap(filing)
    carried["rewritten"] |= {"rows": rows, "set": dict(assignments)}
    run(conn, FILE_PARKED, {**params, "before": Jsonb(carried)})
    return rows


class _Swap:
    """One table on its way to be replaced by another."""

    def __init__(self, conn: Conn, table: Table, shape: Shape) -> None:
        self._conn = conn
        self._table = table
        self._oid = shape.oid
        #: reserved, and the table's own: two tables of one schema may be written anew at a time
        self._mark = f"_lockstep_{shape.oid}"
        self._new = ident(table.schema, self._mark)
        #: kind, name for now, name to have
        self._renames: list[tuple[str, str, str]] = []
        self._incoming: list[ForeignKey] = []
        self._owner = one(conn, OWNER, {"oid": shape.oid})[0]

    @property
    def _params(self) -> dict[str, Any]:
        return {"oid": self._oid, "new": self._new}

    def fill(self, assignments: Mapping[str, str]) -> int:
        """Make the new table and fill it; the author's expressions see the author's search path."""
        with pinned(self._conn):
            perform(self._conn, self._worded(carry.EMPTY))
            perform(self._conn, self._worded(carry.NOT_NULLS))
        names = self._worded(carry.COLUMNS)
        statement = FILL.format(
            new=quote(self._table.schema, self._mark),
            columns=listed(map(quote, names)),
            values=listed(
                given(assignments[name]) if name in assignments else quote(self._table.name, name)
                for name in names
            ),
            table=quote(self._table.schema, self._table.name),
        )
        return run(self._conn, statement).rowcount

    def build(self) -> None:
        """Build what takes a pass over the rows, while readers still have the old table."""
        with pinned(self._conn):
            perform(self._conn, [f"ALTER TABLE {self._new} OWNER TO {self._owner}"])
            for place, index in enumerate(run(self._conn, carry.INDEXES, self._params).fetchall()):
                with self._naming(index[0]):
                    self._index(f"{self._mark}_{place}", *index)
            for key in carry.foreign_keys(self._conn, self._oid, incoming=False):
                perform(self._conn, [key.add(key.name, self._new, self._new)])
            self._incoming = carry.foreign_keys(self._conn, self._oid, incoming=True)
            for place, key in enumerate(self._incoming):
                perform(self._conn, [key.add(f"{self._mark}_f{place}", key.owner, self._new)])
            for place, row in enumerate(run(self._conn, carry.STATISTICS, self._params).fetchall()):
                self._statistics(f"{self._mark}_s{place}", *row)
            perform(self._conn, [f"ANALYZE {self._new}"])

    @contextmanager
    def _naming(self, index: str) -> Iterator[None]:
        """Name an index as it will be called where the new rows do not fit it."""
        try:
            yield
        except psycopg.errors.IntegrityError as problem:
            raise DataError(
                f"{self._table}: the rows as written anew do not fit {index!r}: {said_by_server(problem)}. "
                "Nothing of this transaction was written.",
                table=self._table.slug,
                index=index,
            ) from problem

    def _index(
        self,
        name: str,
        final: str,
        head: str,
        text: str,
        space: str,
        constraint: str,
        when: str,
        options: str,
    ) -> None:
        run(self._conn, "SELECT set_config('default_tablespace', %(space)s, true)", {"space": space})
        add = f"ALTER TABLE {self._new} ADD CONSTRAINT {ident(name)} {constraint}"
        if constraint and not constraint.endswith(" USING INDEX "):
            perform(self._conn, [add])
            if options:
                perform(self._conn, [f"ALTER INDEX {ident(self._table.schema, name)} SET ({options})"])
        else:
            begin = f"{'CREATE UNIQUE' if head.startswith('CREATE UNIQUE') else 'CREATE'} INDEX {ident(name)}"
            perform(self._conn, [f"{begin} ON {self._new} USING {_between(text, head)}"])
            if constraint:
                perform(self._conn, [f"{add}{ident(name)}{when}"])
        self._renames.append(("INDEX", name, final))

    def _statistics(self, name: str, schema: str, final: str, head: str, text: str, tail: str) -> None:
        what = _between(text, head, tail)
        perform(self._conn, [f"CREATE STATISTICS {ident(schema, name)} {what} FROM {self._new}"])

    def swap(self, filing: Filing) -> dict[str, Any]:
        """Give the new table the name, and all that hangs on it; return what takes it back."""
        conn, params = self._conn, self._params
        here = ident(self._table.schema, self._table.name)
        with pinned(conn):
            views = run(conn, carry.VIEWS, params).fetchall()
            exclusively(conn, [lock for _, lock, _ in views], [here, *(key.owner for key in self._incoming)])
            # Once more: a view needs no lock that we held until now.
            refuse_unknown(conn, existing(conn, self._table))
            views = run(conn, carry.VIEWS, params).fetchall()
            was = portrait(conn, self._oid)
            later = afterwards(conn, self._oid)
            grants = Grants(conn, self._oid)
            own = carry.foreign_keys(conn, self._oid, incoming=False)
            publications = run(conn, carry.PUBLICATIONS, params).fetchall()
            sequences = self._sequences()
            statistics = self._old_statistics(filing)
            perform(conn, drops([*self._incoming, *own]))
            perform(conn, [leave for leave, _ in publications])
            before = move_away(conn, self._table, self._oid, filing)
            self._take_names(here, sequences["identity"], statistics)
            perform(conn, [text for _, _, text in views])
            perform(conn, later)
            perform(conn, [key.comment for key in self._incoming if key.comment is not None])
            perform(conn, [join for _, join in publications])
            xid, oid = one(
                conn, WRITTEN_BY.format(new=quote(self._table.schema, self._table.name)), {"new": here}
            )
            grants.give(conn, oid)
            refuse_difference(self._table, differences(was, portrait(conn, oid)))
        before["rewritten"] = {
            "xid": xid,
            "portrait": was,
            "statistics": statistics,
            "own": sequences["own"],
            "identity": sequences["identity"],
            "foreign_keys": [statement for key in own for statement in key.restore],
        }
        return before

    def _sequences(self) -> dict[str, Any]:
        """Hand the columns' sequences over: an identity's is made anew and goes on where the old one is."""
        conn, schema = self._conn, self._table.schema
        oid = one(conn, "SELECT %(new)s::regclass::oid::bigint", self._params)[0]
        made = run(conn, carry.SEQUENCES, {"oid": oid})
        fresh = {column: name for column, name, _, kind, _ in made if kind == "i"}
        identity, own = [], []
        for column, name, of_type, kind, default in run(conn, carry.SEQUENCES, self._params).fetchall():
            if kind == "i":
                # LIKE makes it of bigint, whatever the column is of.
                perform(conn, [f"ALTER SEQUENCE {ident(schema, fresh[column])} AS {of_type}"])
                go_on(conn, schema, fresh[column], name)
                identity.append([column, name, fresh[column]])
                continue
            own.append([column, name, default])
            perform(conn, [f"ALTER SEQUENCE {ident(schema, name)} OWNED BY {self._new}.{ident(column)}"])
            if default is not None:
                # What is parked must not keep a sequence from being dropped with the table that it serves.
                table = ident(schema, self._table.name)
                perform(conn, [f"ALTER TABLE {table} ALTER COLUMN {ident(column)} DROP DEFAULT"])
        return {"identity": identity, "own": own}

    def _old_statistics(self, filing: Filing) -> list[list[str]]:
        """Park the old table's extended statistics, whose names do not go with the table."""
        parked = []
        for place, (schema, name, *_) in enumerate(
            run(self._conn, carry.STATISTICS, self._params).fetchall()
        ):
            there = f"s{self._oid}_{filing.step}_{place}"
            perform(
                self._conn,
                [
                    f"ALTER STATISTICS {ident(schema, name)} RENAME TO {ident(there)}",
                    f"ALTER STATISTICS {ident(schema, there)} SET SCHEMA {ident(PARKED)}",
                ],
            )
            parked.append([schema, name, there])
        return parked

    def _take_names(
        self, here: str, identity: Sequence[Sequence[str]], statistics: Sequence[Sequence[str]]
    ) -> None:
        schema = self._table.schema
        statements = [f"ALTER TABLE {self._new} RENAME TO {ident(self._table.name)}"]
        for kind, name, final in self._renames:
            statements.append(f"ALTER {kind} {ident(schema, name)} RENAME TO {ident(final)}")
        for _, name, fresh in identity:
            statements.append(f"ALTER SEQUENCE {ident(schema, fresh)} RENAME TO {ident(name)}")
        for place, (space, name, _) in enumerate(statistics):
            fresh = ident(space, f"{self._mark}_s{place}")
            statements.append(f"ALTER STATISTICS {fresh} RENAME TO {ident(name)}")
        for place, key in enumerate(self._incoming):
            fresh = ident(f"{self._mark}_f{place}")
            statements.append(f"ALTER TABLE {key.owner} RENAME CONSTRAINT {fresh} TO {ident(key.name)}")
        perform(self._conn, statements)

    def _worded(self, query: str) -> list[str]:
        return [text for (text,) in run(self._conn, query, self._params)]


def exclusively(conn: Conn, views: Sequence[str], tables: Sequence[str]) -> None:
    """Take the tables for ourselves, the views that read them first, as their readers do.

    Each attempt waits no longer than the transaction's lock_timeout, so that nobody queues behind us for long;
    what was written so far is given up after the last.
    """
    names = listed(dict.fromkeys(tables))
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with conn.transaction():
                perform(conn, [*views, f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE"])
            return
        except psycopg.errors.LockNotAvailable:
            if attempt == ATTEMPTS:
                raise
        time.sleep(PAUSE)


def check_now(conn: Conn, table: Table, incoming: Sequence[ForeignKey]) -> None:
    """Let checks that earlier steps of this transaction left for its end happen now, if there are any.

    A table with such checks cannot be altered. From here on the transaction puts none off any more.
    """
    tables = dict.fromkeys([ident(table.schema, table.name), *(key.owner for key in incoming)])
    try:
        # Alters nothing, and takes no lock that anybody but DDL would notice.
        with conn.transaction(force_rollback=True):
            perform(conn, [f"ALTER TABLE {name} RESET (fillfactor)" for name in tables])
    except psycopg.errors.ObjectInUse:
        perform(conn, ["SET CONSTRAINTS ALL IMMEDIATE"])


def drops(keys: Sequence[ForeignKey]) -> list[str]:
    """Return the statements that drop foreign keys: a parked table must not hold up who deletes elsewhere."""
    return [f"ALTER TABLE {key.owner} DROP CONSTRAINT {ident(key.name)}" for key in keys]


def go_on(conn: Conn, schema: str, sequence: str, of: str) -> None:
    run(conn, GO_ON.format(of=quote(schema, of)), {"sequence": ident(schema, sequence)})


def refuse_difference(table: Table, found: Sequence[str]) -> None:
    """Raise Refused where a swap would lose something: it is the last look, before the commit."""
    if found:
        raise Refused(
            f"{table} cannot be swapped: afterwards {'; '.join(found)}. Nothing was done. Take that away in a "
            "revision before this one, or use ops.update_rows.",
            table=table.slug,
            differences=tuple(found),
        )


def _between(text: str, head: str, tail: str = "") -> str:
    """Return a definition without its name and its table."""
    if not (text.startswith(head) and text.endswith(tail)):
        raise Refused(f"the definition {text!r} is not worded as expected. Use ops.update_rows.", text=text)
    return text[len(head) : len(text) - len(tail)]
