"""A PostgreSQL database as the engine sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from lockstep.domain.exchange import Adopted, BackupPart
from lockstep.domain.pacing import Limits, Reading
from lockstep.domain.parked import Parked
from lockstep.domain.progress import BackupFile, Cursor, Fence, Fingerprint, KeyRange, Page, Progress
from lockstep.domain.readiness import Writes
from lockstep.domain.resources import Everything, Postgres, Table
from lockstep.stores.postgres import adopt, checkpoints, dump, load, outside, plan, read, scratch, signals
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.definitions import definitions
from lockstep.stores.postgres.fetch import fetch
from lockstep.stores.postgres.fingerprint import fingerprint
from lockstep.stores.postgres.locks import waiting
from lockstep.stores.postgres.parked import parked as all_parked
from lockstep.stores.postgres.parked import remove_parked
from lockstep.stores.postgres.reader import Reader
from lockstep.stores.postgres.rearm import rearm
from lockstep.stores.postgres.schema import ensure
from lockstep.stores.postgres.shape import all_tables, existing, keyed, shape_of
from lockstep.stores.postgres.takeover import insisting
from lockstep.stores.postgres.text import Conn, one
from lockstep.stores.postgres.unit import PostgresUnit, unit
from lockstep.stores.postgres.vacuum import vacuum
from lockstep.stores.postgres.writes import journaled, writes

#: What the server says of itself.
FACTS = "SELECT current_setting('server_version'), current_database(), current_user"


class PostgresStore:
    """A TableStore: see the port for what each method promises.

    `conninfo`: a libpq string or URI, password included. `pg_bin`: where pg_dump is, before PATH. `read_only`: nothing
    is written, Lockstep's own schema included.
    """

    def __init__(
        self,
        database: Postgres,
        conninfo: str,
        *,
        pg_bin: Path | None = None,
        read_only: bool = False,
    ) -> None:
        self.database = database
        self._connector = Connector(database, conninfo, read_only=read_only)
        self._pg_bin = pg_bin
        self._ready = False

    def __repr__(self) -> str:
        return f"<PostgresStore {self._connector.address}>"

    def close(self) -> None:
        """Close the connection kept for the next call; the store stays usable."""
        self._connector.close()

    def check(self) -> Mapping[str, str]:
        with self._connector.transaction() as conn:
            schema = 0 if self._connector.read_only else ensure(conn, self._connector.address)
            version, dbname, user = one(conn, FACTS)
        self._ready = True
        return {"version": version, "database": dbname, "user": user, "schema": str(schema)}

    def tables(self) -> tuple[Table, ...]:
        with self._snapshot() as conn:
            return tuple(Table(self.database, name, schema=schema) for schema, name in all_tables(conn))

    def require_key(self, table: Table) -> None:
        with self._snapshot() as conn:
            keyed(conn, table)

    def exists(self, table: Table) -> bool:
        with self._snapshot() as conn:
            return shape_of(conn, table) is not None

    def plan_ranges(self, table: Table, *, where: str | None, shards: int, least: int) -> list[KeyRange]:
        with self._snapshot() as conn:
            return plan.plan(conn, keyed(conn, table), where=where, shards=shards, least=least)

    def width(self, table: Table) -> int | None:
        with self._snapshot() as conn:
            return plan.width(conn, existing(conn, table))

    def reader(self) -> AbstractContextManager[Reader]:
        return Reader(Connector(self.database, make_conninfo(**self._connector.params)))

    def read(
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
        with self._snapshot() as conn:
            return read.page(
                conn,
                keyed(conn, table),
                columns=columns,
                where=where,
                within=within,
                after=after,
                limit=limit,
                excluding=excluding,
            )

    def keys_of(self, table: Table) -> tuple[str, ...]:
        with self._snapshot() as conn:
            return tuple(column.name for column in keyed(conn, table).key)

    def fetch(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        with self._snapshot() as conn:
            return fetch(conn, keyed(conn, table), rows)

    def fingerprint(self, touched: Table | Everything, *, keys_only: bool = False) -> dict[str, Fingerprint]:
        with self._snapshot() as conn:
            if isinstance(touched, Table):
                return {touched.slug: fingerprint(conn, touched, keys_only=keys_only)}
            tables = [Table(self.database, name, schema=schema) for schema, name in all_tables(conn)]
            return {table.slug: fingerprint(conn, table, keys_only=keys_only) for table in tables}

    def count(self, table: Table, where: str | None = None, *, excluding: Sequence[Cursor] = ()) -> int:
        with self._snapshot() as conn:
            return read.count(conn, (keyed if excluding else existing)(conn, table), where, excluding)

    def claim(self, fence: Fence) -> Progress:
        def attempt(lock_timeout: float) -> Progress:
            with self._own() as conn, waiting(self._connector, conn, lock_timeout, f"claim of {fence}"):
                return checkpoints.claim(conn, fence)

        mark = checkpoints.shard_mark(fence)
        return insisting(self._connector, mark, attempt, lambda conn: checkpoints.is_latest(conn, fence))

    def progress(self, run_id: str, phase: str) -> dict[tuple[int, int], Progress]:
        with self._own() as conn:
            return checkpoints.progress_of(conn, run_id, phase)

    def fence_off(self, run_id: str, epoch: int) -> None:
        def attempt(lock_timeout: float) -> None:
            doing = f"fence around run {run_id}"
            with self._own() as conn, waiting(self._connector, conn, lock_timeout, doing):
                checkpoints.fence_off(conn, run_id, epoch)

        insisting(self._connector, checkpoints.run_mark(run_id), attempt, lambda conn: True)

    def rearm(self, run_id: str) -> int:
        with self._own() as conn:
            return rearm(conn, run_id)

    def unit(self, fence: Fence) -> AbstractContextManager[PostgresUnit]:
        return unit(self._connector, self.database, fence)

    def run_outside_transaction(self, statement: str, *, lock_timeout: float) -> None:
        outside.run_outside(self._connector, statement, lock_timeout)

    def drop_unfinished(self, statement: str, *, lock_timeout: float) -> bool:
        return outside.drop_unfinished(self._connector, statement, lock_timeout)

    def pressure(self, limits: Limits) -> list[Reading]:
        return signals.pressure(self._connector, limits)

    def vacuum(self, table: Table) -> bool:
        return vacuum(self._connector, table)

    def backup(self, touched: Sequence[Table | Everything]) -> Iterator[BackupPart]:
        return dump.backup(self._connector, touched, self._pg_bin)

    def open_scratch(self, name: str) -> PostgresStore:
        return PostgresStore(self.database, scratch.open_scratch(self._connector, name), pg_bin=self._pg_bin)

    def drop_scratch(self, name: str) -> None:
        scratch.drop_scratch(self._connector, name)

    def scratches(self) -> list[str]:
        return scratch.scratches(self._connector)

    def load(self, files: Sequence[BackupFile], read: Callable[[str], Iterator[bytes]]) -> None:
        load.load(self._connector, files, read, self._pg_bin)

    def adopt(self, source: Any, resources: Sequence[Table | Everything]) -> Adopted:
        there: PostgresStore = source
        return adopt.adopt(self._connector, there._connector, self.database, resources, self._pg_bin)

    def parked(self) -> list[Parked]:
        return all_parked(self._connector)

    def remove_parked(self, parked: Parked) -> None:
        remove_parked(self._connector, parked)

    def portrait(self) -> dict[str, str]:
        with self._snapshot() as conn:
            return definitions(conn)

    def writes(self, touched: Table | Everything) -> dict[str, Writes]:
        return writes(self._connector, touched)

    def journaled(self, run_id: str, step: int) -> bool:
        return journaled(self._connector, run_id, step)

    def handle(self) -> AbstractContextManager[Any]:
        return self._connector.transaction(pinned=False)

    def _snapshot(self) -> AbstractContextManager[Conn]:
        return self._connector.transaction(snapshot=True)

    @contextmanager
    def _own(self) -> Iterator[Conn]:
        """Give a transaction in which Lockstep's own schema is there."""
        with self._connector.transaction() as conn:
            if not self._ready and not self._connector.read_only:
                ensure(conn, self._connector.address)
            yield conn
        self._ready = True
