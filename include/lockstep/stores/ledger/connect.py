"""Connections to the ledger's database: one transaction each, nothing of a session kept."""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from lockstep.domain.errors import DataError, Refused
from lockstep.stores.ledger.errors import translated

Db = psycopg.Connection[DictRow]
#: connections of a parent process, kept so that nothing closes them here
_INHERITED: list[Db] = []
Isolation = Literal["READ COMMITTED READ WRITE", "REPEATABLE READ READ ONLY"]

# A pooler may give each transaction another server connection, so settings are made in each (SET LOCAL).
# A worker that freezes inside a transaction loses it, and its locks, after the idle timeout.
_BEGIN = """
    BEGIN ISOLATION LEVEL {isolation};
    SET LOCAL search_path TO public, pg_temp;
    SET LOCAL lock_timeout TO '{lock_ms}ms';
    SET LOCAL statement_timeout TO '{statement_s}s';
    SET LOCAL idle_in_transaction_session_timeout TO '{idle_s}s';
"""


class Connections:
    """Idle connections of one process, so that a checkpoint does not cost a login.

    Threads may share it: each transaction has a connection of its own.
    """

    def __init__(self, conninfo: str, *, conn_id: str, lock_timeout: float) -> None:
        self.conn_id = conn_id
        self.lock_timeout = lock_timeout
        self._params = _params(conninfo, conn_id)
        self._idle: list[Db] = []
        self._lock = threading.Lock()
        self._pid = os.getpid()
        weakref.finalize(self, _close_all, self._idle, self._pid)

    @property
    def address(self) -> str:
        """Host, port and database, without credentials."""
        given = self._params
        host = given.get("host") or given.get("hostaddr") or "local socket"
        return f"{host}:{given.get('port') or 5432}/{given.get('dbname') or '?'}"

    @contextmanager
    def transaction(
        self, *, isolation: Isolation = "READ COMMITTED READ WRITE", seconds: int = 60, idle: int = 60
    ) -> Iterator[Db]:
        """Run a block in a transaction: it commits where the block ends well, and rolls back otherwise.

        `seconds` bounds each statement, `idle` what happens between two.
        """
        begin = _BEGIN.format(
            isolation=isolation, lock_ms=int(self.lock_timeout * 1000), statement_s=seconds, idle_s=idle
        )
        with translated(self.conn_id, self.address):
            db = self._begun(begin)
            try:
                yield db
                _commit(db)
            except BaseException:
                _roll_back(db)
                raise
            finally:
                self._give_back(db)

    def close(self) -> None:
        """Close the idle connections; the next transaction opens another."""
        with self._lock:
            _close_all(self._idle, self._pid)

    def _begun(self, begin: str) -> Db:
        """Return a connection in a transaction; one that died while idle is replaced: nothing is lost."""
        db = self._take()
        if db is not None:
            try:
                db.execute(begin)
            except psycopg.OperationalError:
                db.close()
            else:
                return db
        db = self._connect()
        try:
            db.execute(begin)
        except BaseException:
            db.close()
            raise
        return db

    def _take(self) -> Db | None:
        with self._lock:
            if self._pid != os.getpid():
                _close_all(self._idle, self._pid)
                self._pid = os.getpid()
                weakref.finalize(self, _close_all, self._idle, self._pid)
            return self._idle.pop() if self._idle else None

    def _give_back(self, db: Db) -> None:
        if db.closed or db.info.transaction_status is not TransactionStatus.IDLE:
            db.close()
            return
        with self._lock:
            self._idle.append(db)

    def _connect(self) -> Db:
        # autocommit: BEGIN and COMMIT are ours, so that settings travel with BEGIN in one round trip.
        return psycopg.connect(
            **{"connect_timeout": 10, "application_name": _who(), **self._params},
            client_encoding="utf8",
            autocommit=True,
            prepare_threshold=None,
            row_factory=dict_row,
        )


def _commit(db: Db) -> None:
    # COMMIT of a failed transaction is a silent ROLLBACK: say it.
    if db.info.transaction_status is TransactionStatus.INERROR:
        raise DataError("a statement failed earlier in this ledger transaction: nothing of it was written.")
    db.commit()


def _roll_back(db: Db) -> None:
    try:
        db.rollback()
    except psycopg.Error:
        db.close()  # the server rolls back what it lost the client of


def _close_all(idle: list[Db], pid: int) -> None:
    if pid != os.getpid():
        # After a fork these sockets are the parent's: closing one here would end its session.
        _INHERITED.extend(idle)
        idle.clear()
    while idle:
        idle.pop().close()


def _params(conninfo: str, conn_id: str) -> dict[str, Any]:
    try:
        return {name: value for name, value in conninfo_to_dict(conninfo).items() if value is not None}
    except psycopg.ProgrammingError:
        # The driver's message quotes the text, and the text may hold the password.
        raise Refused(
            f"the Airflow connection {conn_id!r} does not make a PostgreSQL address. Correct its fields.",
            conn_id=conn_id,
        ) from None


def _who() -> str:
    return f"lockstep {socket.gethostname()[:40]}:{os.getpid()}"
