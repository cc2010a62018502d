"""Waiting for locks, never without a timeout: inside a transaction, whose end gives all its locks back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from lockstep.domain.errors import LockTimeout
from lockstep.domain.locking import Locks
from lockstep.stores.postgres.blockers import named
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.text import Conn, one, shortened

#: seconds that our own DDL waits for a lock: others queue behind it meanwhile. More than the second after which
#: PostgreSQL ends an autovacuum that is in the way.
LOCK_TIMEOUT = Locks.STRONG.value

#: Give up waiting for a lock after so long (milliseconds), until the transaction ends, and say which server
#: process that is: behind a pooler it is not the one that we logged in to.
SET_TIMEOUT = "SELECT pg_backend_pid(), set_config('lock_timeout', %(ms)s, true)"


@contextmanager
def waiting(
    connector: Connector, conn: Conn, lock_timeout: float, doing: str, *, strong: bool = False
) -> Iterator[None]:
    """Wait at most `lock_timeout` seconds for each lock; after it raise LockTimeout, naming who holds it.

    strong: what is taken makes others queue. Whatever this transaction waits for later makes them wait too,
    so from here on none of its waits is longer than this one.
    """
    known = connector.known(conn)
    if strong:
        known.most = min(lock_timeout, known.most)
    lock_timeout = min(lock_timeout, known.most)
    # One round trip saved, of several in each batch, where the transaction has this timeout already.
    if known.pid == 0 or known.lock_timeout != lock_timeout:
        known.pid = one(conn, SET_TIMEOUT, {"ms": str(milliseconds(lock_timeout))})[0]
        known.lock_timeout = lock_timeout
    with connector.blockers.watched(known.pid, lock_timeout) as seen:
        try:
            yield
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as problem:
            raise gave_way(connector, doing, lock_timeout, seen, problem) from problem


def gave_way(
    connector: Connector, doing: str, lock_timeout: float, seen: list[str], problem: psycopg.Error
) -> LockTimeout:
    """Return the error for a wait that ended, with who was waited for."""
    fields = {"conn_id": connector.address.conn_id, "blockers": tuple(seen), "lock_timeout": lock_timeout}
    what = f"PostgreSQL, {connector.address}: {shortened(doing)!r}"
    if isinstance(problem, psycopg.errors.DeadlockDetected):
        detail = shortened(problem.diag.message_detail or "")
        return LockTimeout(
            f"{what} met a deadlock and gave way: {detail}. Nothing of it was written.", **fields
        )
    return LockTimeout(
        f"{what} waited {lock_timeout:g} s for a lock and gave way, so that nobody queues behind it. "
        f"Held by {named(seen)}. Let them finish or end them (SELECT pg_terminate_backend(pid)), then try again.",
        **fields,
    )


def milliseconds(lock_timeout: float) -> int:
    """Return a timeout as PostgreSQL takes it: 0 would mean none."""
    return max(1, round(lock_timeout * 1000))
