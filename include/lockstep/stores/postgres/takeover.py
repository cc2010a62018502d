"""End the sessions of workers that were taken over and do not let go of what they hold.

A worker that stands still keeps its transaction, and with it the shard's checkpoint and the rows of its batch,
for as long as its process exists; one that was killed keeps them until its last statement ends by itself.
Neither is to commit any more: whoever asks here has a later epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from lockstep.domain.errors import LockTimeout
from lockstep.stores.postgres.connect import ROW_TIMEOUT, Connector
from lockstep.stores.postgres.text import Conn, run

T = TypeVar("T")

#: seconds that a worker which was taken over has to end its batch: many times what a batch aims at
GRACE = 5.0

#: End the sessions that hold an advisory lock; those of another role are nobody's whom we know.
END_HOLDERS = """
SELECT pg_terminate_backend(l.pid)
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended(%(mark)s, 0)
  AND l.pid <> pg_backend_pid() AND a.usename = current_user
"""


def insisting(
    connector: Connector, mark: str, attempt: Callable[[float], T], may: Callable[[Conn], bool]
) -> T:
    """Make an attempt with a lock timeout; where that is not enough, end those who hold `mark` and make another.

    `mark`: the text that an advisory lock's key is made of, which only those hold who are in the way.
    `may`: whether they are those who were taken over, and not we.
    """
    try:
        return attempt(GRACE)
    except LockTimeout:
        with connector.transaction() as conn:
            if may(conn):
                run(conn, END_HOLDERS, {"mark": mark})
    return attempt(ROW_TIMEOUT)
