"""Statements that PostgreSQL refuses to run inside a transaction, above all CREATE INDEX CONCURRENTLY.

An index build that fails leaves an index behind that costs on every write and answers no query. Here it ends
valid, or it is dropped again: by the attempt that failed, by the next one, or by the undo.
"""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass

from lockstep.domain.errors import DataError, LockstepError, LockTimeout, Unavailable
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.errors import translated
from lockstep.stores.postgres.text import Conn, quote, run, shortened
from lockstep.stores.postgres.watchdog import execute_alone

#: seconds between two looks at a build that another session is at
LOOK_EVERY = 0.5

_NAME = r'(?:"(?:[^"]|"")+"|[^\s."(]+)'
_BUILDS_INDEX = re.compile(r"^\s*create\s+(?:unique\s+)?index\s+concurrently\b", re.IGNORECASE)
_BUILDS_NAMED_INDEX = re.compile(
    rf"^\s*create\s+(?:unique\s+)?index\s+concurrently\s+(?:if\s+not\s+exists\s+)?(?!on\b)(?P<name>{_NAME})"
    rf"\s+on\s+(?:only\s+)?(?P<table>{_NAME}(?:\.{_NAME})?)",
    re.IGNORECASE,
)

#: The index of that name in the table's schema: where it is, whether it is the table's, whether it is valid.
INDEX = """
SELECT c.oid, n.nspname, i.indrelid = t.oid, i.indisvalid
FROM pg_class t JOIN pg_class c ON c.relnamespace = t.relnamespace
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_index i ON i.indexrelid = c.oid
WHERE t.oid = to_regclass(%(table)s) AND c.relname = %(name)s
"""

#: Who builds it right now: most likely a worker of ours that was killed, whose server process never heard of it.
BUILDER = """
SELECT pid FROM pg_stat_progress_create_index
WHERE datname = current_database() AND index_relid = %(oid)s AND pid <> pg_backend_pid()
"""

#: End them.
END_BUILDER = """
SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index
WHERE datname = current_database() AND index_relid = %(oid)s AND pid <> pg_backend_pid()
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
            if build is None:
                execute_alone(connector, conn, statement, lock_timeout)
            elif not _is_built(conn, connector, build, lock_timeout):
                _build(conn, connector, build, statement, lock_timeout)
    finally:
        conn.close()


def drop_unfinished(connector: Connector, statement: str, lock_timeout: float) -> bool:
    """Drop what a statement left unfinished, an invalid index; tell whether it had.

    A build that is still going on is ended first: its worker is gone, and nobody wants the index any more.
    """
    build = index_build(statement)
    if build is None:
        return False
    with connector.open() as conn, translated(connector.address):
        conn.autocommit = True
        found = _index(conn, build)
        if found is None or not found.ours or found.valid:
            return False
        run(conn, END_BUILDER, {"oid": found.oid})
        # Valid by now or not: it was not when it was looked at, so it is the unfinished statement's.
        _drop(conn, connector, found.schema, build.name, lock_timeout)
        return True


def _build(conn: Conn, connector: Connector, build: IndexBuild, statement: str, lock_timeout: float) -> None:
    try:
        execute_alone(connector, conn, statement, lock_timeout)
    except LockTimeout as problem:
        if _drop_remains(connector, build, lock_timeout):
            raise
        raise LockTimeout(
            f"{problem} Index {build.name!r} is left behind INVALID: a session that has read the table keeps it "
            "from being dropped. The next attempt, or the undo, drops it.",
            **problem.fields,
        ) from problem
    except BaseException:
        _drop_remains(connector, build, lock_timeout)
        raise
    found = _index(conn, build)
    if found is not None and found.ours and not found.valid:
        # IF NOT EXISTS is content with an invalid index: another session began one since we looked.
        raise Unavailable(
            f"PostgreSQL, {connector.address}: index {build.name!r} is there and invalid after "
            f"{shortened(statement)!r}: another session builds it. The next attempt builds it anew.",
            conn_id=connector.address.conn_id,
        )


def _is_built(conn: Conn, connector: Connector, build: IndexBuild, lock_timeout: float) -> bool:
    """Tell whether a valid index is there; drop an invalid one that an earlier attempt left.

    A build that is still going on is waited for: dropping its index would wait for it as well, and throw
    away what it did.
    """
    until = time.monotonic() + lock_timeout
    while (found := _index(conn, build)) is not None and found.ours:
        if found.valid:
            return True
        builder = run(conn, BUILDER, {"oid": found.oid}).fetchone()
        if builder is None:
            # Asked again: it may have ended between the two questions.
            if (again := _index(conn, build)) is not None and not again.valid:
                _drop(conn, connector, found.schema, build.name, lock_timeout)
            continue
        if time.monotonic() >= until:
            raise LockTimeout(
                f"PostgreSQL, {connector.address}: index {build.name!r} is being built by process "
                f"{builder[0]}, and was for the {lock_timeout:g} s that this waited for it to end. It is looked for "
                "again; end that process if nobody needs it (SELECT pg_terminate_backend(pid)).",
                conn_id=connector.address.conn_id,
                blockers=(f"pid {builder[0]}",),
                lock_timeout=lock_timeout,
            )
        time.sleep(LOOK_EVERY)
    return False  # none, or another table's: PostgreSQL will say so


def _drop_remains(connector: Connector, build: IndexBuild, lock_timeout: float) -> bool:
    """Drop the invalid index of a build that failed, on a fresh connection: the old one may be broken.

    False where that fails too: the error of the build matters more, and the next attempt drops it first.
    """
    with suppress(LockstepError), connector.open() as conn, translated(connector.address):
        conn.autocommit = True
        found = _index(conn, build)
        if found is not None and found.ours and not found.valid:
            _drop(conn, connector, found.schema, build.name, lock_timeout)
        return True
    return False


def _drop(conn: Conn, connector: Connector, schema: str, name: str, lock_timeout: float) -> None:
    # Executed as it stands, without parameters: no per cent sign in the name needs doubling.
    quoted = quote(schema, name).replace("%%", "%")
    execute_alone(connector, conn, f"DROP INDEX CONCURRENTLY IF EXISTS {quoted}", lock_timeout)


@dataclass(frozen=True, kw_only=True)
class _Index:
    oid: int
    schema: str
    #: whether it is the table's that the statement names
    ours: bool
    valid: bool


def _index(conn: Conn, build: IndexBuild) -> _Index | None:
    row = run(conn, INDEX, {"table": build.table, "name": build.name}).fetchone()
    return None if row is None else _Index(oid=row[0], schema=row[1], ours=row[2], valid=row[3])


def _folded(name: str) -> str:
    """Return a name as PostgreSQL keeps it: unquoted ones in lower case."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
