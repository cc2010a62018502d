"""Who blocks us: looked up while we wait, since afterwards nobody knows what we waited for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from lockstep.domain.errors import LockstepError, Unavailable
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.text import Conn, one, run, shortened

#: seconds that DDL and checkpoints wait for a lock where the caller does not say
LOCK_TIMEOUT = 5.0

#: Give up waiting for a lock after so long (milliseconds), until the transaction or the session ends, and
#: say which server process that is: behind a pooler it is not the one that we logged in to.
SET_TIMEOUT = "SELECT pg_backend_pid(), set_config('lock_timeout', %(ms)s, %(local)s)"

#: Those that hold what the process waits for.
BLOCKERS = """
SELECT pid, usename, application_name, state, query, round(extract(epoch FROM now() - xact_start))
FROM pg_stat_activity WHERE pid = ANY(pg_blocking_pids(%(pid)s::integer))
ORDER BY xact_start
"""


@contextmanager
def waiting(
    connector: Connector, conn: Conn, lock_timeout: float, doing: str, *, local: bool = True
) -> Iterator[None]:
    """Wait at most `lock_timeout` seconds for each lock; after it raise Unavailable, naming who holds it.

    local: for this transaction; else for the session, on a connection that the caller will close.
    """
    pid = one(conn, SET_TIMEOUT, {"ms": str(max(1, round(lock_timeout * 1000))), "local": local})[0]
    with watched(connector, pid, lock_timeout) as seen:
        try:
            yield
        except psycopg.errors.LockNotAvailable as problem:
            by = "; ".join(seen) or "a session that was gone, or could not be seen, when it was looked for"
            raise Unavailable(
                f"PostgreSQL, {connector.address}: {shortened(doing)!r} waited {lock_timeout:g} s for a lock "
                f"and gave way, so that nobody queues behind it. Held by {by}. "
                "Let them finish or end them (SELECT pg_terminate_backend(pid)), then try again.",
                conn_id=connector.address.conn_id,
                blockers=tuple(seen),
                lock_timeout=lock_timeout,
            ) from problem


@contextmanager
def watched(connector: Connector, pid: int, lock_timeout: float) -> Iterator[list[str]]:
    """Look, from a connection of its own, who blocks a process; the list holds whom it saw last.

    It looks three times in the length of a timeout, so that no wait that ends in one goes unseen, and does
    not even connect for a statement that is done before.
    """
    seen: list[str] = []
    done = threading.Event()
    every = lock_timeout / 3

    def watch() -> None:
        conn: Conn | None = None
        try:
            while not done.wait(every):
                if conn is None:
                    conn = connector.open()
                    conn.autocommit = True
                found = [_described(*row) for row in run(conn, BLOCKERS, {"pid": pid})]
                seen[:] = found or seen
        except (LockstepError, psycopg.Error):
            return  # the names of the blockers are a help, never a reason to fail
        finally:
            if conn is not None:
                conn.close()

    watcher = threading.Thread(target=watch, name="lockstep-blockers", daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def _described(pid: int, user: Any, application: Any, state: Any, query: Any, age: Any) -> str:
    since = "" if age is None else f", in its transaction for {age} s"
    by = " ".join(str(part) for part in (user, application) if part)
    return (
        f"pid {pid} ({by or 'unknown'}, {state or 'state unknown'}{since}): {shortened(query or '', 160)!r}"
    )
