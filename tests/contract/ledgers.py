"""Fresh ledgers for tests, and values to put into them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.rows import DictRow, dict_row

from lockstep.domain.exchange import Event
from lockstep.domain.progress import Fence, KeyRange, Progress
from lockstep.domain.run import BatchEntry, Caller, RevisionState, Run
from lockstep.domain.status import RunStatus, Status
from lockstep.stores.ledger import PostgresLedger

if TYPE_CHECKING:
    from addresses import Addresses

LONG_AGO = datetime(2001, 2, 3, tzinfo=timezone.utc)


@contextmanager
def fresh_database(servers: Addresses) -> Iterator[str]:
    """Make an empty database, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    servers.create_database(name)
    try:
        yield servers.postgres_uri(name)
    finally:
        servers.drop_database(name)


@contextmanager
def fresh_ledger(servers: Addresses, **options: Any) -> Iterator[tuple[PostgresLedger, str]]:
    """Make a ledger of its own; yield it with its conninfo."""
    with fresh_database(servers) as conninfo:
        ledger = PostgresLedger(conninfo, **options)
        ledger.check()
        try:
            yield ledger, conninfo
        finally:
            ledger.close()


@contextmanager
def sql(conninfo: str) -> Iterator[psycopg.Connection[DictRow]]:
    """Look behind the ledger's back."""
    with psycopg.connect(conninfo, autocommit=True, row_factory=dict_row) as db:
        yield db


def wait_until_blocked(conninfo: str, sessions: int = 1) -> None:
    """Return when so many sessions of the database wait for a lock; the server says when that is."""
    with sql(conninfo) as db:
        while True:
            row = db.execute(
                "SELECT count(*) AS waiting FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            if row and row["waiting"] >= sessions:
                return


def a_revision(revision: str = "0001", **changes: Any) -> RevisionState:
    state = RevisionState(
        id=revision,
        description="Add display names.",
        storage_type="table",
        status=Status.PENDING,
        checksum="c" * 64,
    )
    return replace(state, **changes)


def a_run(run_id: str = "r1", **changes: Any) -> Run:
    run = Run(
        id=run_id,
        revision="0001",
        direction="upgrade",
        status=RunStatus.OPEN,
        caller=Caller(dag_id="revision_0001", dag_run_id="manual__1", by="ada"),
        checksum="c" * 64,
        started_at=LONG_AGO,
        params={"shards": 2},
    )
    return replace(run, **changes)


def opened(ledger: PostgresLedger, run_id: str = "r1", **changes: Any) -> Run:
    """Register the run's revision and open the run."""
    run = a_run(run_id, **changes)
    with ledger.unit() as unit:
        unit.register(a_revision(run.revision))
        unit.add_run(run)
        return unit.run(run_id)


def claimed(ledger: PostgresLedger, run_id: str = "r1") -> Fence:
    """Plan one shard of a run and claim it."""
    ledger.plan_shards(run_id, "upgrade", 1, [KeyRange()])
    return ledger.claim(run_id, "upgrade", 1, 0, "first worker")[0]


def a_batch(batch: int = 1, **changes: Any) -> BatchEntry:
    entry = BatchEntry(
        step=1,
        shard=0,
        batch=batch,
        state="won",
        path=f"journal/{batch}",
        sha256="a" * 64,
        progress=Progress(cursor=f"after {batch}", batches=batch, read=10 * batch, written=9 * batch),
    )
    return replace(entry, **changes)


class Heard:
    """A sink that keeps what it was given, and fails where it is told to."""

    name = "heard"

    def __init__(self, *failing: str) -> None:
        self.events: list[tuple[Event, bool]] = []
        self.failing = set(failing)
        self.error: Exception = RuntimeError("https://user:hidden@example.com did not answer")

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        if event.data.get("n") in self.failing:
            raise self.error
        self.events.append((event, tried_before))

    @property
    def numbers(self) -> list[Any]:
        return [event.data["n"] for event, _ in self.events]
