"""Lockstep's own tables, in a PostgreSQL database of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from lockstep.domain.approval import Approval
from lockstep.domain.backups import Proof, StoredBackup
from lockstep.domain.events import Relayed
from lockstep.domain.history import BrokenLink, Head, Segment
from lockstep.domain.parked import Parked
from lockstep.domain.progress import Fence, KeyRange, Manifest, Progress
from lockstep.domain.quarantine import Quarantined, QuarantinedRecord
from lockstep.domain.rehearsal import Compared, Rehearsal
from lockstep.domain.run import BatchEntry, RevisionState, Run, ShardState, Standing
from lockstep.domain.surroundings import Surroundings, here
from lockstep.stores.ledger import (
    approvals,
    backups,
    batches,
    history,
    leases,
    outbox,
    parked,
    pauses,
    quarantine,
    rehearsals,
    runs,
    schema,
    shapes,
    shards,
)
from lockstep.stores.ledger.connect import Connections
from lockstep.stores.ledger.unit import PostgresLedgerUnit, unit


class PostgresLedger:
    """The ledger. Threads may share it; each call is one transaction of its own."""

    def __init__(
        self,
        conninfo: str,
        *,
        conn_id: str = "lockstep_ledger",
        lock_timeout: float = 10.0,
        surroundings: Surroundings | None = None,
    ) -> None:
        """`conninfo`: libpq's, as text or URI. `lock_timeout`: seconds that a call waits for a lock.

        `surroundings`: what the history's entries say of where they are written; this process, unless more is known.
        """
        self._surroundings = surroundings or here()
        self._connections = Connections(conninfo, conn_id=conn_id, lock_timeout=lock_timeout)

    def __repr__(self) -> str:
        return f"PostgresLedger({self._connections.address}, conn_id={self._connections.conn_id!r})"

    def close(self) -> None:
        """Close idle connections; the ledger can be used again."""
        self._connections.close()

    def check(self) -> Mapping[str, str]:
        """Answer with server facts, bringing the ledger's own schema up to date."""
        return schema.check(self._connections)

    def unit(self) -> AbstractContextManager[PostgresLedgerUnit]:
        """Open a transaction under the chain's lock; Unavailable, naming the holder, where it is not free."""
        return unit(self._connections, self._surroundings)

    def revisions(self) -> dict[str, RevisionState]:
        with self._connections.transaction() as db:
            return runs.revisions(db)

    def run(self, run_id: str) -> Run:
        with self._connections.transaction() as db:
            return runs.run(db, run_id)

    def run_of(self, dag_id: str, dag_run_id: str) -> Run | None:
        """Return the run that this Airflow run opened or took over, also if another has it since."""
        with self._connections.transaction() as db:
            return runs.run_of_caller(db, dag_id, dag_run_id)

    def runs(self, revision: str | None = None, limit: int = 50) -> list[Run]:
        with self._connections.transaction() as db:
            return runs.latest(db, revision, limit)

    def next_epoch(self) -> int:
        with self._connections.transaction() as db:
            return leases.next_epoch(db)

    def heartbeat(self, run_id: str, run_epoch: int, seconds: float) -> Standing:
        with self._connections.transaction() as db:
            return leases.heartbeat(db, run_id, run_epoch, seconds)

    def silent(self, run_id: str) -> bool:
        with self._connections.transaction() as db:
            return leases.silent(db, run_id)

    def pause(self, run_id: str, *, by: str, reason: str) -> Run:
        with self.unit() as open_unit:
            return pauses.pause(open_unit, run_id, by, reason)

    def resume(self, run_id: str, *, by: str) -> Run:
        with self.unit() as open_unit:
            return pauses.resume(open_unit, run_id, by)

    def hold(self, fence: Fence, reason: str) -> None:
        with self._connections.transaction() as db:
            shards.wait(db, fence, reason)

    def quarantine(
        self, fence: Fence, conn_id: str, resource: str, records: Sequence[Quarantined], *, budget: int
    ) -> None:
        with self._connections.transaction() as db:
            quarantine.add(db, fence, conn_id, resource, records, budget)

    def quarantined(self, run_id: str | None = None) -> list[QuarantinedRecord]:
        with self._connections.transaction() as db:
            return quarantine.read(db, run_id)

    def lease_age(self, run_id: str) -> float | None:
        with self._connections.transaction() as db:
            return leases.lease_age(db, run_id)

    def ended_leases(self, *, remove: bool) -> list[str]:
        with self._connections.transaction() as db:
            return leases.ended(db, remove=remove)

    def plan_shards(self, run_id: str, phase: str, step: int, ranges: Sequence[KeyRange]) -> list[ShardState]:
        with self._connections.transaction() as db:
            return shards.plan(db, run_id, phase, step, ranges)

    def shards(self, run_id: str, phase: str | None = None) -> list[ShardState]:
        with self._connections.transaction() as db:
            return shards.of_run(db, run_id, phase)

    def claim(self, run_id: str, phase: str, step: int, shard: int, holder: str) -> tuple[Fence, ShardState]:
        with self._connections.transaction() as db:
            return shards.claim(db, run_id, phase, step, shard, holder)

    def refuse_stale(self, fence: Fence) -> None:
        with self._connections.transaction() as db:
            shards.refuse_stale(db, fence)

    def save(self, fence: Fence, progress: Progress, *, rate: float | None = None) -> None:
        with self._connections.transaction() as db:
            shards.save(db, fence, progress, rate)

    def win_batch(self, fence: Fence, entry: BatchEntry) -> None:
        with self._connections.transaction() as db:
            batches.win(db, fence, entry)

    def close_batch(self, fence: Fence, entry: BatchEntry, state: str) -> None:
        with self._connections.transaction() as db:
            batches.close(db, fence, entry, state)

    def batches(self, run_id: str, phase: str, step: int, shard: int | None = None) -> list[BatchEntry]:
        with self._connections.transaction() as db:
            return batches.read(db, run_id, phase, step, shard)

    def set_batch_state(self, run_id: str, phase: str, entry: BatchEntry, state: str) -> None:
        with self._connections.transaction() as db:
            batches.set_state(db, run_id, phase, entry, state)

    def save_backup(self, manifest: Manifest, *, proof: Proof | None) -> None:
        with self._connections.transaction() as db:
            backups.save(db, manifest, proof)

    def backups(self, run_id: str) -> list[Manifest]:
        with self._connections.transaction() as db:
            return backups.read(db, run_id)

    def stored_backups(
        self,
        *,
        conn_id: str | None = None,
        revision: str | None = None,
        run_id: str | None = None,
        removed: bool = False,
        limit: int = 1000,
        files: bool = True,
    ) -> list[StoredBackup]:
        with self._connections.transaction() as db:
            return backups.listed(
                db,
                conn_id=conn_id,
                revision=revision,
                run_id=run_id,
                removed=removed,
                limit=limit,
                files=files,
            )

    def backup_checked(self, manifest: Manifest, *, problem: str | None) -> None:
        with self._connections.transaction() as db:
            backups.checked(db, manifest, problem)

    def backup_removed(self, manifest: Manifest) -> None:
        with self._connections.transaction() as db:
            backups.removed(db, manifest)

    def sync_parked(self, conn_id: str, found: Sequence[Parked], *, why: str) -> int:
        with self._connections.transaction() as db:
            return parked.sync(db, conn_id, found, why)

    def parked(self, *, gone: bool = False) -> list[Parked]:
        with self._connections.transaction() as db:
            return parked.read(db, gone)

    def save_shape(self, conn_id: str, run_id: str, shape: Mapping[str, str]) -> None:
        with self._connections.transaction() as db:
            shapes.save(db, conn_id, run_id, shape)

    def shapes(self) -> dict[str, tuple[str, datetime, dict[str, str]]]:
        with self._connections.transaction() as db:
            return shapes.latest(db)

    def add_rehearsal(self, rehearsal: Rehearsal) -> None:
        with self._connections.transaction() as db:
            rehearsals.add(db, rehearsal)

    def change_rehearsal(self, rehearsal_id: str, **changes: Any) -> Rehearsal:
        with self._connections.transaction() as db:
            return rehearsals.change(db, rehearsal_id, changes)

    def rehearsal(self, rehearsal_id: str) -> Rehearsal:
        with self._connections.transaction() as db:
            return rehearsals.one(db, rehearsal_id)

    def rehearsal_of(self, dag_id: str, dag_run_id: str) -> Rehearsal | None:
        with self._connections.transaction() as db:
            return rehearsals.of_caller(db, dag_id, dag_run_id)

    def rehearsals(self, limit: int = 50) -> list[Rehearsal]:
        with self._connections.transaction() as db:
            return rehearsals.latest(db, limit)

    def save_comparison(self, compared: Compared) -> None:
        with self._connections.transaction() as db:
            rehearsals.compare(db, compared)

    def comparisons(self, run_id: str | None = None) -> list[Compared]:
        with self._connections.transaction() as db:
            return rehearsals.comparisons(db, run_id)

    def approvals(self, revision: str | None = None) -> list[Approval]:
        with self._connections.transaction() as db:
            return approvals.read(db, revision)

    def history(self, revision: str | None = None) -> list[dict[str, Any]]:
        """Return entries as plain JSON, oldest first."""
        with self._connections.transaction() as db:
            return history.read(db, revision)

    def verify_history(self) -> str | None:
        broken = self.broken_link()
        return None if broken is None else str(broken.id)

    def broken_link(self) -> BrokenLink | None:
        return history.verify(self._connections)

    def entries(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the entries that follow an id as plain JSON, oldest first."""
        with self._connections.transaction() as db:
            return history.entries(db, after, limit)

    def history_head(self) -> Head:
        with self._connections.transaction() as db:
            return history.head(db)

    def segments(self) -> list[Segment]:
        with self._connections.transaction() as db:
            return history.segments(db)

    def archived(self) -> int:
        """Return the id of the last entry that was put into the vault."""
        with self._connections.transaction() as db:
            return history.archived(db)

    def add_segment(self, segment: Segment) -> None:
        with self._connections.transaction() as db:
            history.add_segment(db, segment)

    def pending_events(self) -> int:
        with self._connections.transaction() as db:
            return outbox.pending(db)

    def deliver(self, sink: outbox.Receiver, *, limit: int = 100) -> int:
        """Hand pending events to a sink, run by run in order; raise the first failure after trying all."""
        return outbox.deliver(self._connections, sink, limit)

    def busy_sinks(self, sinks: Sequence[str]) -> list[str]:
        return outbox.busy(self._connections, sinks)

    def waiting_for(self, sink: str) -> int:
        with self._connections.transaction() as db:
            return outbox.waiting_for(db, sink)

    def relay(
        self,
        sink: outbox.Receiver,
        *,
        limit: int = 100,
        also: Mapping[str, Any] | None = None,
        at_once: bool = False,
    ) -> Relayed:
        """Hand a sink the events whose time has come, run by run in order; say what came of it."""
        return outbox.relay(self._connections, sink, limit=limit, also=also or {}, at_once=at_once)
