"""Pages read ahead of the units that write, on a connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import psycopg

from lockstep.domain.errors import Unavailable
from lockstep.domain.progress import Cursor, KeyRange, Page
from lockstep.domain.resources import Table
from lockstep.stores.postgres import read
from lockstep.stores.postgres.connect import ROW_TIMEOUT, Connector
from lockstep.stores.postgres.locks import waiting
from lockstep.stores.postgres.pack import Packed, pack
from lockstep.stores.postgres.shape import Shape, keyed
from lockstep.stores.postgres.text import Conn

#: seconds that a cancel request may take
CANCEL_TIMEOUT = 5.0


class Reader:
    """A TableReader: see the port for what each method promises."""

    def __init__(self, connector: Connector) -> None:
        #: nobody else's: the one that waits for the next unit is not to be taken from it
        self._connector = connector
        self._lock = threading.Lock()
        self._at_work: Conn | None = None
        self._closed = False
        self._shapes: dict[Table, Shape] = {}

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let nobody wait for a page that nobody wants."""
        with self._lock:
            self._closed = True
            if self._at_work is not None:
                with suppress(psycopg.Error):
                    self._at_work.cancel_safe(timeout=CANCEL_TIMEOUT)
        self._connector.close()

    def page(
        self,
        table: Table,
        *,
        columns: Sequence[str] | None,
        where: str | None,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        excluding: Sequence[Cursor] = (),
    ) -> Page:
        with self._working() as conn, waiting(self._connector, conn, ROW_TIMEOUT, f"read {table}"):
            self._shapes[table] = shape = keyed(conn, table)
            return read.page(
                conn,
                shape,
                columns=columns,
                where=where,
                within=within,
                after=after,
                limit=limit,
                stamped=True,
                excluding=excluding,
            )

    def pack(
        self,
        table: Table,
        pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
        stamps: Sequence[str],
    ) -> Packed:
        return pack(self._shapes[table], pairs, stamps)

    @contextmanager
    def _working(self) -> Iterator[Conn]:
        """Give a transaction that the end of the reader cancels."""
        try:
            with self._connector.transaction(snapshot=True) as conn:
                self._begin(conn)
                try:
                    yield conn
                finally:
                    with self._lock:
                        self._at_work = None
        finally:
            if self._closed:
                self._connector.close()

    def _begin(self, conn: Conn) -> None:
        with self._lock:
            if self._closed:
                raise Unavailable("nothing is read ahead any more: whoever wanted it has stopped.")
            self._at_work = conn
