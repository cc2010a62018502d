"""Databases, stores and rows for the tests of the PostgreSQL store."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from addresses import Addresses
from lockstep.domain.progress import Fence, KeyRange, Phase, Progress
from lockstep.domain.resources import Postgres, Table
from lockstep.stores.postgres import PostgresStore
from lockstep.stores.postgres.unit import PostgresUnit

DB = Postgres("campus_test")
ALL = KeyRange()


@dataclass(kw_only=True)
class Room:
    """A database of one test's own, and the store over it."""

    store: PostgresStore
    conninfo: str = field(repr=False)
    pg_bin: Path | None = None
    epoch: int = 0

    def sql(self, statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Ask the server itself, past the store."""
        with psycopg.connect(self.conninfo, autocommit=True) as conn:
            cursor = conn.execute(statement.encode(), params or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, params: Sequence[Any] = ()) -> Any:
        return self.sql(statement, params)[0][0]

    def claimed(self, run: str = "r1", step: int = 1, shard: int = 0, phase: Phase = "upgrade") -> Fence:
        """Take a shard over with the next epoch."""
        self.epoch += 1
        fence = Fence(run_id=run, phase=phase, step=step, shard=shard, epoch=self.epoch)
        self.store.claim(fence)
        return fence

    @contextmanager
    def unit(self, run: str = "r1", step: int = 1) -> Iterator[PostgresUnit]:
        with self.store.unit(self.claimed(run, step)) as unit:
            unit.advance(Progress(batches=1))
            yield unit

    def update(self, table: Table, assignments: Mapping[str, str], **options: Any) -> list[Any]:
        """Run a whole update in batches of `limit`, each a unit of its own."""
        limit, step = options.pop("limit", 100), options.pop("step", 1)
        options = {"where": None, "within": ALL, "journal": True, **options}
        found: list[Any] = []
        after = None
        while not found or not found[-1].last:
            with self.unit(step=step) as unit:
                found.append(unit.update_range(table, assignments, after=after, limit=limit, **options))
            after = found[-1].cursor
        return found

    def transform(self, table: Table, function: Any, **options: Any) -> int:
        """Run a whole transform in batches of two rows, each a unit of its own; return rows written."""
        limit, columns = options.pop("limit", 2), options.pop("columns", None)
        written, after, last = 0, None, False
        while not last:
            with self.unit() as unit:
                page = unit.read_locked(
                    table, columns=columns, where=None, within=ALL, after=after, limit=limit
                )
                pairs = [(row, function(dict(row))) for row in page.records]
                written += unit.write_rows(table, pairs, journal=options.get("journal", True))
            after, last = page.cursor, page.last
        return written

    def take_back(
        self, run: str = "r1", step: int = 1, *, limit: int = 100, strict: bool = True
    ) -> list[Any]:
        """Take a whole step back, each batch in a unit of an undo's own."""
        found: list[Any] = []
        while not found or not found[-1].last:
            with self.store.unit(self.claimed(run, step, phase="undo")) as unit:
                found.append(unit.take_back(run, step, limit=limit, strict=strict))
        return found


@contextmanager
def fresh_database(servers: Addresses) -> Iterator[str]:
    """Make an empty database, and drop it afterwards; yield its conninfo."""
    name = f"pg_{uuid.uuid4().hex[:12]}"
    servers.create_database(name)
    try:
        yield servers.postgres_uri(name)
    finally:
        servers.drop_database(name)


@contextmanager
def emptied_room(conninfo: str, pg_bin: Path | None = None) -> Iterator[Room]:
    """Empty a database, and make Lockstep's schema in it."""
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute("SET client_min_messages = warning")
        conn.execute("DROP SCHEMA IF EXISTS lockstep_state, lockstep_parked, public, other CASCADE")
        conn.execute("CREATE SCHEMA public")
    store = PostgresStore(DB, conninfo, pg_bin=pg_bin)
    store.check()
    try:
        yield Room(store=store, conninfo=conninfo, pg_bin=pg_bin)
    finally:
        store.close()


def wait_until_blocked(conninfo: str, sessions: int = 1) -> None:
    """Return when so many sessions of the database wait for a lock; the server says when that is."""
    with psycopg.connect(conninfo, autocommit=True) as conn:
        while True:
            row = conn.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            if row is not None and row[0] >= sessions:
                return


def everything(room: Room, table: str = "things") -> list[tuple[Any, ...]]:
    """Return every row as its text form, in one order."""
    return room.sql(f"SELECT t::text FROM {table} AS t ORDER BY 1")
