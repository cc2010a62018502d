"""Who blocks us: looked up while we wait, since afterwards nobody knows what we waited for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg

from lockstep.domain.errors import LockstepError
from lockstep.stores.postgres.text import Conn, run, shortened

#: Those that hold what each process waits for. A transaction that was prepared has no process: its pid is 0.
BLOCKERS = """
SELECT w.pid, b.pid, a.usename, a.application_name, a.state, a.query,
       round(extract(epoch FROM clock_timestamp() - a.xact_start))
FROM unnest(%(pids)s::integer[]) AS w (pid)
CROSS JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(w.pid)) AS pid) AS b
LEFT JOIN pg_stat_activity AS a ON a.pid = b.pid
ORDER BY a.xact_start
"""

#: seconds that the watching thread waits for more to do before it ends
LINGER = 5.0


@dataclass(kw_only=True, eq=False)
class _Watch:
    """One process of ours that may come to wait."""

    pid: int
    every: float
    due: float
    seen: list[str] = field(default_factory=list)


class Blockers:
    """Look, from a connection of its own, who blocks our processes.

    One thread for all, started by the first watch and ended when there was none for a while. To watch costs
    two short locks: neither a thread nor a connection is made for a statement that is done soon.
    """

    def __init__(self, connect: Callable[[], Conn]) -> None:
        self._connect = connect
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._watches: set[_Watch] = set()
        self._running = False
        self._wakes = 0.0

    @contextmanager
    def watched(self, pid: int, lock_timeout: float) -> Iterator[list[str]]:
        """Watch a process until the block ends; the list holds whom it waited for when it was last seen to.

        It is looked at three times in the length of a timeout, so that no wait that ends in one goes unseen.
        """
        every = lock_timeout / 3
        watch = _Watch(pid=pid, every=every, due=time.monotonic() + every)
        self._add(watch)
        try:
            yield watch.seen
        finally:
            with self._changed:
                self._watches.discard(watch)

    def _add(self, watch: _Watch) -> None:
        if self._process != os.getpid():
            self._reset()  # after a fork: the thread is the parent's, and the lock may be held by nobody
        with self._changed:
            self._watches.add(watch)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="lockstep-blockers", daemon=True).start()
            elif watch.due < self._wakes:
                self._changed.notify()

    def _run(self) -> None:
        conn: Conn | None = None
        try:
            while due := self._due():
                conn = self._look(conn, due)
        finally:
            if conn is not None:
                conn.close()

    def _due(self) -> list[_Watch]:
        """Return the watches to look at, once there are some; none when this thread is not needed any more."""
        with self._changed:
            until = time.monotonic() + LINGER
            while True:
                now = time.monotonic()
                due = [watch for watch in self._watches if watch.due <= now]
                if due:
                    return due
                if self._watches:
                    until = now + LINGER
                elif now >= until:
                    self._running = False
                    return []
                self._wakes = min((watch.due for watch in self._watches), default=until)
                self._changed.wait(self._wakes - now)

    def _look(self, conn: Conn | None, due: list[_Watch]) -> Conn | None:
        # The names of the blockers are a help, never a reason to fail.
        try:
            if conn is None:
                conn = self._connect()
                conn.autocommit = True
            found: dict[int, list[str]] = {}
            for pid, *blocker in run(conn, BLOCKERS, {"pids": [watch.pid for watch in due]}):
                found.setdefault(pid, []).append(described(*blocker))
            for watch in due:
                watch.seen[:] = found.get(watch.pid) or watch.seen
        except (LockstepError, psycopg.Error):
            if conn is not None:
                with suppress(psycopg.Error):
                    conn.close()
            conn = None
        for watch in due:
            watch.due = time.monotonic() + watch.every
        return conn


def named(seen: list[str]) -> str:
    """Say who holds what was waited for."""
    return "; ".join(seen) or "a session that was gone, or could not be seen, when it was looked for"


def described(pid: int, user: Any, application: Any, state: Any, query: Any, age: Any) -> str:
    """Say of a row of BLOCKERS who that is and what it does."""
    if pid == 0:
        return "a prepared transaction (see pg_prepared_xacts; COMMIT PREPARED or ROLLBACK PREPARED ends it)"
    since = "" if age is None else f", in its transaction for {age} s"
    by = " ".join(str(part) for part in (user, application) if part)
    return (
        f"pid {pid} ({by or 'unknown'}, {state or 'state unknown'}{since}): {shortened(query or '', 160)!r}"
    )
