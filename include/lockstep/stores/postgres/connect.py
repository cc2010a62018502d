"""Connections: opened when needed, one kept for the next call, none shared by two callers."""

from __future__ import annotations

import os
import select
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from lockstep.domain.errors import Refused
from lockstep.domain.locking import Locks
from lockstep.domain.resources import Postgres
from lockstep.stores.postgres.blockers import Blockers
from lockstep.stores.postgres.errors import Address, translated
from lockstep.stores.postgres.text import Conn, one, run

#: seconds that a transaction waits for rows, and for whatever has no timeout of its own
ROW_TIMEOUT = Locks.PLAIN.value

#: seconds to wait for a connection, unless the connection string says otherwise
CONNECT_TIMEOUT = 10

#: Pin what a value's text form depends on, for this transaction only: a pooler hands the session on.
#: row_security off: a policy that would hide rows from us is an error, not a migration of half a table.
PIN = """
SELECT set_config('DateStyle', 'ISO, YMD', true), set_config('IntervalStyle', 'postgres', true),
       set_config('TimeZone', 'UTC', true), set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '1', true), set_config('lc_monetary', 'C', true),
       set_config('xmloption', 'content', true), set_config('row_security', 'off', true)
"""

#: The same for a transaction that writes, with a lock timeout, and the server process that it is.
PIN_AND_WAIT = f"{PIN.rstrip()}, set_config('lock_timeout', %(ms)s, true), pg_backend_pid()"

#: Which server process this is, and where the server itself can be reached; no address on a local socket.
SERVER_ITSELF = "SELECT pg_backend_pid(), host(inet_server_addr()), inet_server_port()"

#: Make names in definitions qualified, whatever the role's search path is.
PIN_NAMES = "SELECT set_config('search_path', 'pg_catalog', true)"


@dataclass(kw_only=True)
class Known:
    """What is known of the transaction that a connection is in."""

    #: the server process; 0 while nobody asked
    pid: int = 0
    #: seconds, as set for this transaction
    lock_timeout: float | None = None
    #: no wait of this transaction is to be longer
    most: float = float("inf")


class _Idle:
    """The one connection that waits for the next call."""

    def __init__(self) -> None:
        self.conn: Conn | None = None
        self.pid = 0
        self.lock = threading.Lock()

    def take(self) -> Conn | None:
        with self.lock:
            conn, self.conn = self.conn, None
        if conn is None or self.pid != os.getpid():  # a forked child must not speak on its parent's socket
            return None
        if conn.closed or _has_news(conn):
            conn.close()
            return None
        return conn

    def keep(self, conn: Conn) -> None:
        whole = not conn.closed and conn.info.transaction_status == TransactionStatus.IDLE
        with self.lock:
            if whole and self.conn is None:
                self.conn, self.pid = conn, os.getpid()
                return
        conn.close()

    def close(self) -> None:
        with self.lock:
            conn, self.conn = self.conn, None
        if conn is not None and self.pid == os.getpid():
            conn.close()


def _has_news(conn: Conn) -> bool:
    """Tell whether an idle connection has something to read: most likely that the server hung up."""
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return bool(poll.poll(0))


class Connector:
    """Open transactions on one database."""

    def __init__(self, database: Postgres, conninfo: str, *, read_only: bool = False) -> None:
        """`read_only`: the server lets no transaction of this connector write."""
        self.read_only = read_only
        try:
            #: libpq parameters, the password among them
            self.params: dict[str, Any] = dict(conninfo_to_dict(conninfo))
        except psycopg.ProgrammingError:
            # Not chained: libpq quotes the string that it cannot read, password and all.
            raise Refused(
                f"The Airflow connection {database.conn_id!r} does not make a PostgreSQL connection string. "
                "Mend its host, port, schema and extra.",
                conn_id=database.conn_id,
            ) from None
        self.params["application_name"] = "lockstep"
        self.params.setdefault("connect_timeout", CONNECT_TIMEOUT)
        self.params.setdefault("client_encoding", "UTF8")
        self._conninfo = make_conninfo(**self.params)
        self.address = Address(
            conn_id=database.conn_id,
            host=str(self.params.get("host") or os.environ.get("PGHOST") or "local socket"),
            port=str(self.params.get("port") or os.environ.get("PGPORT") or "5432"),
            dbname=str(self.params.get("dbname") or os.environ.get("PGDATABASE") or ""),
        )
        self._idle = _Idle()
        self._known: weakref.WeakKeyDictionary[Conn, Known] = weakref.WeakKeyDictionary()
        # Not bound to the connector: its thread would keep it, and the connection with it, from being let go.
        self.blockers = Blockers(partial(_connect, self._conninfo, self.address))
        weakref.finalize(self, self._idle.close)

    def __repr__(self) -> str:
        return f"<Connector {self.address}>"

    def close(self) -> None:
        """Close the connection that is kept; the next call opens another."""
        self._idle.close()

    def open(self) -> Conn:
        """Open a connection of the caller's own."""
        return _connect(self._conninfo, self.address)

    def past_pooler(self, conn: Conn) -> dict[str, Any]:
        """Return libpq parameters that lead to the server itself, for programs that a pooler cannot serve.

        They are the usual ones where nothing is in between: where the server process is the one that we logged
        in to. Refused where the server does not say its address.
        """
        pid, host, port = one(conn, SERVER_ITSELF)
        if pid == conn.info.backend_pid:
            return self.params
        if host is None:
            raise Refused(
                f"PostgreSQL, {self.address}, is behind a pooler that reaches it by a local socket, and pg_dump "
                "cannot go through a pooler: its settings would stay in other clients' sessions. Give the Airflow "
                f"connection {self.address.conn_id!r} the server's own address.",
                conn_id=self.address.conn_id,
            )
        return {**self.params, "hostaddr": host, "port": port}

    def known(self, conn: Conn) -> Known:
        """Return what is known of a connection's transaction, to be kept up by who changes it."""
        return self._known.setdefault(conn, Known())

    @contextmanager
    def transaction(self, *, snapshot: bool = False, pinned: bool = True) -> Iterator[Conn]:
        """Give a connection in one transaction, committed when the block ends well.

        snapshot: read only, and every statement sees the same state (REPEATABLE READ).
        pinned: text forms of values do not depend on the role's or the database's settings.
        """
        conn = self._idle.take() or self.open()
        try:
            with translated(self.address):
                conn.isolation_level = (
                    IsolationLevel.REPEATABLE_READ if snapshot else IsolationLevel.READ_COMMITTED
                )
                conn.read_only = snapshot or self.read_only
                self._known[conn] = self._pinned(conn, snapshot) if pinned else Known()
                yield conn
                conn.commit()
        except BaseException:
            with suppress(psycopg.Error):
                conn.rollback()
            raise
        finally:
            self._idle.keep(conn)

    def _pinned(self, conn: Conn, snapshot: bool) -> Known:
        if snapshot:  # reads make nobody wait
            run(conn, PIN)
            return Known()
        *_, pid = one(conn, PIN_AND_WAIT, {"ms": str(round(ROW_TIMEOUT * 1000))})
        return Known(pid=pid, lock_timeout=ROW_TIMEOUT)


def _connect(conninfo: str, address: Address) -> Conn:
    with translated(address):
        # No prepared statements: behind a pooler the next transaction may meet another server process.
        return psycopg.connect(conninfo, prepare_threshold=None)
