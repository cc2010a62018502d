"""A statement in no transaction, with a lock timeout that also holds behind a pooler.

Directly connected, the timeout is the session's, on a connection that is closed afterwards. A transaction pooler
may run each statement in another server's session, where a setting of ours would be missing, or stay behind for
somebody else. There the statement carries a mark, and a thread with a connection of its own looks whether
the process that runs it waits for a lock, and cancels it when the same wait has lasted too long.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import suppress
from types import TracebackType

import psycopg

from lockstep.domain.errors import LockstepError, Unavailable
from lockstep.stores.postgres.blockers import BLOCKERS, described
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.locks import gave_way, milliseconds
from lockstep.stores.postgres.text import Conn, one, raw, run

#: Which server process this is; a pooler gave us another number when we logged in.
WHO = "SELECT pg_backend_pid()"

#: Give up waiting for a lock after so long (milliseconds), in this session.
SET_SESSION_TIMEOUT = "SELECT set_config('lock_timeout', %(ms)s, false)"

#: The process that runs the marked statement, and the lock that it waits for: the same text, the same wait.
WAITS = """
SELECT a.pid, (SELECT l::text FROM pg_locks AS l WHERE l.pid = a.pid AND NOT l.granted LIMIT 1)
FROM pg_stat_activity AS a
WHERE a.state = 'active' AND starts_with(a.query, %(mark)s)
"""

#: Cancel it if it still waits. Between the look and the signal the pooler could give the process to somebody
#: else: in one statement that is a matter of microseconds, and the wait would have to end in them.
CANCEL = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
WHERE pid = %(pid)s AND state = 'active' AND starts_with(query, %(mark)s) AND wait_event_type = 'Lock'
"""

#: seconds between two looks, at most
EVERY = 1.0
#: seconds that a statement runs on unseen, where its lock timeout is not longer
BLIND = 60.0


def execute_alone(connector: Connector, conn: Conn, statement: str, lock_timeout: float) -> None:
    """Run a statement on an autocommit connection; LockTimeout, naming who holds the lock, after a long wait."""
    pid = one(conn, WHO)[0]
    if pid != conn.info.backend_pid:
        _execute_watched(connector, conn, statement, lock_timeout)
        return
    run(conn, SET_SESSION_TIMEOUT, {"ms": str(milliseconds(lock_timeout))})
    with connector.blockers.watched(pid, lock_timeout) as seen:
        try:
            conn.execute(raw(statement))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as problem:
            raise gave_way(connector, statement, lock_timeout, seen, problem) from problem


def _execute_watched(connector: Connector, conn: Conn, statement: str, lock_timeout: float) -> None:
    with _Watchdog(connector, conn, lock_timeout) as dog:
        try:
            conn.execute(raw(f"{dog.mark} {statement}"))
        except psycopg.errors.DeadlockDetected as problem:
            raise gave_way(connector, statement, lock_timeout, dog.seen, problem) from problem
        except psycopg.errors.QueryCanceled as problem:
            if dog.blind:
                raise Unavailable(
                    f"PostgreSQL, {connector.address}: {statement!r} could not be watched from a second "
                    f"connection for {dog.patience:g} s, and must not wait for locks unwatched. Give the pooler "
                    "room for two connections, or the Airflow connection the server's own address.",
                    conn_id=connector.address.conn_id,
                ) from problem
            if dog.bit:
                raise gave_way(connector, statement, lock_timeout, dog.seen, problem) from problem
            raise


class _Watchdog:
    """Cancel a marked statement that has waited too long for one lock, or that cannot be seen."""

    def __init__(self, connector: Connector, conn: Conn, lock_timeout: float) -> None:
        self.mark = f"/* lockstep {uuid.uuid4().hex} */"
        #: those that the statement waited for, when it was last seen to
        self.seen: list[str] = []
        self.bit = False
        self.blind = False
        self.patience = max(lock_timeout, BLIND)
        self._connector = connector
        self._guarded = conn
        self._lock_timeout = lock_timeout
        self._every = min(EVERY, lock_timeout / 5)
        self._done = threading.Event()
        self._waits: str | None = None
        self._since = 0.0
        self._conn: Conn | None = None

    def __enter__(self) -> _Watchdog:
        self._look()  # before the statement begins: one that nobody can watch is not started
        self._thread = threading.Thread(target=self._watch, name="lockstep-watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        if self._conn is not None:
            self._conn.close()

    def _watch(self) -> None:
        looked = time.monotonic()
        while not self._done.wait(self._every):
            try:
                self._look()
                looked = time.monotonic()
            except (LockstepError, psycopg.Error):
                if self._conn is not None:
                    self._conn.close()
                    self._conn = None
                if time.monotonic() - looked > self.patience and not self.blind:
                    self.blind = True
                    with suppress(psycopg.Error):
                        self._guarded.cancel()

    def _look(self) -> None:
        if self._conn is None:
            self._conn = self._connector.open()
            self._conn.autocommit = True
        row = run(self._conn, WAITS, {"mark": self.mark}).fetchone()
        pid, waits = row if row is not None else (0, None)
        if waits is None or waits != self._waits:
            self._waits, self._since = waits, time.monotonic()
            return
        found = run(self._conn, BLOCKERS, {"pids": [pid]}).fetchall()
        self.seen[:] = [described(*blocker) for _, *blocker in found] or self.seen
        if time.monotonic() - self._since >= self._lock_timeout and not self.bit:
            self.bit = True  # before it is cancelled: the other thread may hear of that first
            self.bit = run(self._conn, CANCEL, {"pid": pid, "mark": self.mark}).fetchone() is not None
