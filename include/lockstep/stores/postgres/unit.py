"""One transaction: what it writes commits together with its checkpoint, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from lockstep.domain.exchange import Swept, TakenBack
from lockstep.domain.locking import Locks, locks_of
from lockstep.domain.progress import Cursor, Fence, Fingerprint, KeyRange, Page, Progress
from lockstep.domain.resources import Postgres, Table
from lockstep.stores.postgres import checkpoints, insert, park, ranges, read, rewrite, sweep, take_back, write
from lockstep.stores.postgres.connect import ROW_TIMEOUT, Connector
from lockstep.stores.postgres.errors import translated
from lockstep.stores.postgres.fetch import fetch
from lockstep.stores.postgres.fingerprint import fingerprint
from lockstep.stores.postgres.journal import Filing
from lockstep.stores.postgres.locks import LOCK_TIMEOUT, waiting
from lockstep.stores.postgres.pack import Packed
from lockstep.stores.postgres.shape import existing, keyed
from lockstep.stores.postgres.text import Conn, raw

Row = Mapping[str, Any]

_WRITING = ("INSERT", "UPDATE", "DELETE", "MERGE", "COPY")


class PostgresUnit:
    """A TableUnit: see the port for what each method promises.

    Its transaction pins time zone (UTC), date, interval and bytea styles, for statements of the author's too.
    """

    def __init__(self, connector: Connector, database: Postgres, conn: Conn, fence: Fence) -> None:
        self._connector = connector
        self._database = database
        self._conn = conn
        self._fence = fence
        self.step = fence.step
        self.progress: Progress | None = None

    @property
    def handle(self) -> Any:
        self._connector.known(self._conn).pid = 0  # whoever has it may set timeouts of his own
        return self._conn

    def advance(self, progress: Progress) -> None:
        self.progress = progress

    def execute(self, statements: Sequence[str], *, lock_timeout: float) -> int:
        affected = 0
        for statement in statements:
            strong = locks_of(statement) is Locks.STRONG
            with (
                translated(self._connector.address, statement),
                waiting(self._connector, self._conn, lock_timeout, statement, strong=strong),
            ):
                cursor = self._conn.execute(raw(statement))
                affected += cursor.rowcount if _writes(cursor.statusmessage) else 0
                while cursor.nextset():
                    affected += cursor.rowcount if _writes(cursor.statusmessage) else 0
            self._connector.known(self._conn).pid = 0  # it may have set a timeout of its own
        return affected

    def insert_missing(self, table: Table, rows: Sequence[Row]) -> int:
        with self._waiting(f"insert into {table}"):
            return insert.insert_missing(self._conn, keyed(self._conn, table), rows, self._filing())

    def update_range(
        self,
        table: Table,
        assignments: Mapping[str, str],
        *,
        where: str | None,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        journal: bool,
        excluding: Sequence[Cursor] = (),
    ) -> Swept:
        with self._waiting(f"update {table}"):
            return sweep.sweep(
                self._conn,
                keyed(self._conn, table),
                assignments,
                where=where,
                within=within,
                after=after,
                limit=limit,
                filing=self._filing() if journal else None,
                excluding=excluding,
            )

    def read_locked(
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
        with self._waiting(f"read {table} for update"):
            return read.page(
                self._conn,
                keyed(self._conn, table),
                columns=columns,
                where=where,
                within=within,
                after=after,
                limit=limit,
                locked=True,
                excluding=excluding,
            )

    def write_rows(self, table: Table, pairs: Sequence[tuple[Row, Row]], *, journal: bool) -> int:
        with self._waiting(f"write {table}"):
            filing = self._filing() if journal else None
            return write.write_pairs(self._conn, keyed(self._conn, table), pairs, filing=filing)

    def write_packed(self, table: Table, packed: Packed, *, journal: bool) -> tuple[int, tuple[Cursor, ...]]:
        with self._waiting(f"write {table}"):
            filing = self._filing() if journal else None
            return write.write_packed(self._conn, keyed(self._conn, table), packed, filing=filing)

    def upsert_rows(self, table: Table, rows: Sequence[Row]) -> tuple[int, int]:
        with self._waiting(f"write {table}"):
            return insert.upsert(self._conn, keyed(self._conn, table), rows, self._filing())

    def park_table(self, table: Table) -> None:
        with self._waiting(f"park {table}", LOCK_TIMEOUT, strong=True):
            park.park_table(self._conn, table, self._filing())

    def park_column(self, table: Table, column: str) -> None:
        with self._waiting(f"park column {column} of {table}", LOCK_TIMEOUT, strong=True):
            park.park_column(self._conn, table, column, self._filing())

    def rewrite_table(self, table: Table, assignments: Mapping[str, str]) -> int:
        with self._waiting(f"write {table} anew", LOCK_TIMEOUT, strong=True):
            return rewrite.rewrite_table(self._conn, table, assignments, self._filing())

    def take_back(self, run_id: str, step: int, *, limit: int, strict: bool) -> TakenBack:
        with self._translated():
            strong = take_back.is_structural(self._conn, run_id, step)
        most = LOCK_TIMEOUT if strong else ROW_TIMEOUT
        with self._waiting(f"take back step {step} of run {run_id}", most, strong=strong):
            return take_back.take_back(self._conn, self._database, run_id, step, limit=limit, strict=strict)

    def keys_of(self, table: Table) -> tuple[str, ...]:
        with self._translated():
            return tuple(column.name for column in keyed(self._conn, table).key)

    def fetch(self, table: Table, rows: Sequence[Row]) -> list[dict[str, Any]]:
        with self._translated():
            return fetch(self._conn, keyed(self._conn, table), rows)

    def count(self, table: Table, where: str | None = None, *, excluding: Sequence[Cursor] = ()) -> int:
        with self._translated():
            shape = (keyed if excluding else existing)(self._conn, table)
            return read.count(self._conn, shape, where, excluding)

    def cursor_of(self, table: Table, row: Row) -> Cursor:
        with self._translated():
            return ranges.cursor_of_row(self._conn, keyed(self._conn, table), row)

    def fingerprint(self, table: Table) -> Fingerprint:
        with self._translated():
            return fingerprint(self._conn, table)

    def _filing(self) -> Filing:
        return Filing(run_id=self._fence.run_id, step=self.step, shard=self._fence.shard)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        with translated(self._connector.address):
            yield

    @contextmanager
    def _waiting(
        self, doing: str, lock_timeout: float | None = None, *, strong: bool = False
    ) -> Iterator[None]:
        most = ROW_TIMEOUT if lock_timeout is None else lock_timeout
        with self._translated(), waiting(self._connector, self._conn, most, doing, strong=strong):
            yield


def _writes(status: str | None) -> bool:
    return (status or "").startswith(_WRITING)


@contextmanager
def unit(connector: Connector, database: Postgres, fence: Fence) -> Iterator[PostgresUnit]:
    """Open a unit: the checkpoint is locked and compared with the fence first, and written last."""
    with connector.transaction() as conn:
        with waiting(connector, conn, ROW_TIMEOUT, f"checkpoint of {fence}"):
            checkpoints.hold(conn, fence)
        work = PostgresUnit(connector, database, conn, fence)
        yield work
        checkpoints.save(conn, fence, work.progress)
