"""Tables made what they are in a scratch database: by difference, in one transaction, and nothing else with them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from lockstep.domain.errors import Refused
from lockstep.domain.exchange import Adopted
from lockstep.domain.resources import Everything, Postgres, Table
from lockstep.stores.postgres.adopt_keys import Keys
from lockstep.stores.postgres.adopt_rows import Difference, OutOfForce, stage, write_all
from lockstep.stores.postgres.adopt_shape import Definitions, Making, copy_rows, repoint, set_sequences
from lockstep.stores.postgres.adopt_table import Adopting, Fate, look, refuse_unequal
from lockstep.stores.postgres.carry import ident, perform, pinned
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.errors import said_by_server, translated
from lockstep.stores.postgres.locks import LOCK_TIMEOUT, waiting
from lockstep.stores.postgres.rewrite import exclusively
from lockstep.stores.postgres.shape import all_tables
from lockstep.stores.postgres.text import Conn, one, run
from lockstep.stores.postgres.unparking import unpark

#: What a transaction that lasts must not be ended by, and what its statements are worded for.
LAST = """
SELECT set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true),
       set_config('standard_conforming_strings', 'on', true)
"""
LAST_LONGER = "SELECT set_config('transaction_timeout', '0', true)"
#: the first server that has that one
LONGER_SINCE = 170000

#: Hold writers off while tables are compared; readers go on.
HOLD = "LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"


def adopt(
    connector: Connector,
    source: Connector,
    database: Postgres,
    resources: Sequence[Table | Everything],
    pg_bin: Path | None,
) -> Adopted:
    """Make tables here what they are in `source`, a database of the same server.

    One attempt: LockTimeout where a lock is not to be had. Refused, and nothing changed, where something hangs on
    a table that cannot be kept.
    """
    with source.transaction(snapshot=True) as there, connector.transaction() as conn:
        for one_of_both in (there, conn):
            run(one_of_both, LAST)
            if one_of_both.info.server_version >= LONGER_SINCE:
                run(one_of_both, LAST_LONGER)
        tables = _tables(conn, there, database, resources)
        doing = f"restore of {', '.join(table.slug for table in tables)}"
        definitions = Definitions(source, pg_bin)
        with (
            translated(connector.address),
            waiting(connector, conn, LOCK_TIMEOUT, doing, strong=True),
            _refusing(doing),
        ):
            return _adopt(conn, there, tables, definitions)


def _tables(
    conn: Conn, there: Conn, database: Postgres, resources: Sequence[Table | Everything]
) -> list[Table]:
    """Return the tables meant, each once and in one order, so that two who do this do not deadlock."""
    found: set[tuple[str, str]] = set()
    for resource in resources:
        if isinstance(resource, Everything):
            found |= {*all_tables(conn), *all_tables(there)}
        else:
            found.add((resource.schema, resource.name))
    return [Table(database, name, schema=schema) for schema, name in sorted(found)]


def _adopt(conn: Conn, there: Conn, tables: Sequence[Table], definitions: Definitions) -> Adopted:
    _hold(conn, tables)
    unpark(conn, there, tables)
    found = [look(conn, there, table) for table in tables]
    changing = [one_table for one_table in found if one_table.fate is not Fate.SAME]
    anew = [one_table for one_table in changing if one_table.fate is Fate.ANEW]
    gone = [one_table for one_table in changing if one_table.fate is Fate.GONE]
    differences = [
        stage(conn, there, one_table, place)
        for place, one_table in enumerate(changing)
        if one_table.fate is Fate.ROWS
    ]
    with pinned(conn):
        making = [Making(conn, one_table, place) for place, one_table in enumerate(anew)]
        keys = Keys(
            conn,
            replaced=_oids(anew),
            removed=_oids(gone),
            written=[oid for one_of in differences for oid in one_of.oids],
            losing=[oid for one_of in differences if one_of.loses for oid in one_of.oids],
        )
        mine = [*anew, *gone] if keys.needed or anew or gone else []
        own = [ident(t.table.schema, t.table.name) for t in mine if t.here is not None]
        if own or keys.tables:
            exclusively(conn, [lock for one_of in making for lock in one_of.view_locks], [*own, *keys.tables])
        keys.drop()
        # First, since new tables may have the names that go with them. RESTRICT: what hangs on them is named.
        perform(conn, [f"DROP TABLE {ident(t.table.schema, t.table.name)}" for t in gone])
        for one_of in making:
            one_of.move_aside()
        definitions.run(conn, "pre-data", [one_of.table for one_of in anew])
    removed, written = _write(conn, there, differences)
    for one_table in anew:
        written += copy_rows(conn, there, one_table)
    with pinned(conn):
        definitions.run(conn, "post-data", [one_of.table for one_of in anew])
        for one_of in making:
            one_of.give_back(there)
        repoint(conn, making)
        for one_of in making:
            one_of.finish()
        keys.restore()
    refuse_unequal(conn, there, changing)
    # Last, since what a sequence is set to is not taken back with the transaction.
    for one_table in found:
        set_sequences(conn, there, one_table)
    return Adopted(
        written=written,
        removed=removed,
        reshaped=tuple(sorted(one_table.table.slug for one_table in (*anew, *gone))),
    )


def _hold(conn: Conn, tables: Sequence[Table]) -> None:
    there = [ident(table.schema, table.name) for table in tables]
    there = [name for name in there if one(conn, "SELECT to_regclass(%(n)s)", {"n": name})[0] is not None]
    if there:
        perform(conn, [HOLD.format(tables=", ".join(there))])


def _oids(found: Collection[Adopting]) -> list[int]:
    return [oid for one_table in found for oid in one_table.oids]


def _write(conn: Conn, there: Conn, differences: Sequence[Difference]) -> tuple[int, int]:
    """Bring over the rows that differ; return how many were removed and written. No trigger and no rule sees it."""
    changing = [one_of for one_of in differences if one_of.any]
    with OutOfForce(conn, [oid for one_of in changing for oid in one_of.oids]):
        return write_all(conn, there, changing)


@contextmanager
def _refusing(doing: str) -> Iterator[None]:
    """Say by name what is in the way, where the server finds it."""
    try:
        yield
    except psycopg.errors.DependentObjectsStillExist as problem:
        reason, advice = said_by_server(problem), "Take that away, or restore what it belongs to as well"
        raise Refused(f"the {doing} was given up: {reason}. Nothing was changed. {advice}.") from problem
    except psycopg.errors.ForeignKeyViolation as problem:
        table = problem.diag.table_name or "another table"
        raise Refused(
            f"the {doing} was given up: rows of {table} refer to rows that the backup does not have: "
            f"{said_by_server(problem)}. Nothing was changed. Restore {table} as well, or take these rows away.",
            table=table,
        ) from problem
    except (
        psycopg.errors.UndefinedObject,
        psycopg.errors.UndefinedFunction,
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.InvalidTableDefinition,
    ) as problem:
        raise Refused(
            f"the {doing} was given up: {said_by_server(problem)}. Nothing was changed. Something that the tables "
            "need, or that reads them, does not fit what they were: mend or drop it, then try again.",
        ) from problem
