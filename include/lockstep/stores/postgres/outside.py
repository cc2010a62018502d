"""Statements that PostgreSQL refuses to run inside a transaction, above all CREATE INDEX CONCURRENTLY.

The lock timeout is the session's here, since there is no transaction to set it for: it is reset afterwards,
on a connection that is closed then. Behind a transaction pooler the statement may run on another server
process and know nothing of the timeout; give such statements an Airflow connection to the server itself.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from lockstep.domain.errors import DataError, LockstepError, Unavailable
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.errors import translated
from lockstep.stores.postgres.locks import waiting
from lockstep.stores.postgres.text import Conn, quote, raw, run, shortened

#: how often the remains of a failed build are tried to be dropped
DROP_ATTEMPTS = 3

_NAME = r'(?:"(?:[^"]|"")+"|[^\s."(]+)'
_BUILDS_INDEX = re.compile(r"^\s*create\s+(?:unique\s+)?index\s+concurrently\b", re.IGNORECASE)
_BUILDS_NAMED_INDEX = re.compile(
    rf"^\s*create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?(?!on\b)(?P<name>{_NAME})"
    rf"\s+on\s+(?:only\s+)?(?P<table>{_NAME}(?:\.{_NAME})?)",
    re.IGNORECASE,
)

RESET_TIMEOUT = "RESET lock_timeout"

#: The index of that name in the table's schema: where it is, whether it is the table's, whether it is valid.
INDEX = """
SELECT n.nspname, i.indrelid = t.oid, i.indisvalid
FROM pg_class t JOIN pg_class c ON c.relnamespace = t.relnamespace
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
WHERE t.oid = to_regclass(%(table)s) AND c.relname = %(name)s
"""


@dataclass(frozen=True, kw_only=True)
class IndexBuild:
    """What a CREATE INDEX CONCURRENTLY would make."""

    name: str
    #: as the statement writes it
    table: str


def index_build(statement: str) -> IndexBuild | None:
    """Return what a statement builds, None for any other; DataError for an index without a name."""
    if not _BUILDS_INDEX.match(statement):
        return None
    found = _BUILDS_NAMED_INDEX.match(statement)
    if found is None:
        raise DataError(
            f"{shortened(statement)!r} leaves the index's name to PostgreSQL, so that nobody could find what a "
            "failed build leaves behind. Name it: CREATE INDEX CONCURRENTLY name ON …",
            statement=shortened(statement),
        )
    return IndexBuild(name=_folded(found["name"]), table=found["table"])


def run_outside(connector: Connector, statement: str, lock_timeout: float) -> None:
    """Run one statement in no transaction; what a failed index build leaves behind is dropped."""
    build = index_build(statement)
    conn = connector.open()
    try:
        with translated(connector.address, statement):
            conn.autocommit = True
            if build is not None and _is_built(conn, connector, build, lock_timeout):
                return
            try:
                with waiting(connector, conn, lock_timeout, statement, local=False):
                    conn.execute(raw(statement))
            except BaseException:
                if build is not None:
                    _drop_remains(connector, build, lock_timeout)
                raise
    finally:
        with suppress(psycopg.Error):
            run(conn, RESET_TIMEOUT)
        conn.close()


def _is_built(conn: Conn, connector: Connector, build: IndexBuild, lock_timeout: float) -> bool:
    """Tell whether a valid index is there; drop an invalid one that an earlier attempt left."""
    row = _index(conn, build)
    if row is None or not row[1]:  # another table's: PostgreSQL will say so
        return False
    schema, _, valid = row
    if not valid:
        _drop(conn, connector, schema, build.name, lock_timeout)
    return bool(valid)


def _drop_remains(connector: Connector, build: IndexBuild, lock_timeout: float) -> None:
    """Drop the invalid index of a build that failed, on a fresh connection: the old one may be broken.

    Where that fails too the error of the build matters more; the next attempt drops it before it builds.
    """
    for _ in range(DROP_ATTEMPTS):
        try:
            with connector.open() as conn, translated(connector.address):
                conn.autocommit = True
                row = _index(conn, build)
                if row is not None and row[1] and not row[2]:
                    _drop(conn, connector, row[0], build.name, lock_timeout)
            return
        except Unavailable:
            continue
        except LockstepError:
            return


def _drop(conn: Conn, connector: Connector, schema: str, name: str, lock_timeout: float) -> None:
    statement = f"DROP INDEX CONCURRENTLY IF EXISTS {quote(schema, name)}"
    with waiting(connector, conn, lock_timeout, statement, local=False):
        run(conn, statement)


def _index(conn: Conn, build: IndexBuild) -> tuple[str, bool, bool] | None:
    row = run(conn, INDEX, {"table": build.table, "name": build.name}).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def _folded(name: str) -> str:
    """Return a name as PostgreSQL keeps it: unquoted ones in lower case."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
