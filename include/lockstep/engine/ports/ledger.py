"""The port to Lockstep's own tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from lockstep.domain.progress import Fence, KeyRange, Manifest, Progress
from lockstep.domain.quarantine import Quarantined, QuarantinedRecord
from lockstep.domain.run import BatchEntry, RevisionState, Run, ShardState, Standing
from lockstep.domain.status import Status
from lockstep.engine.ports.sinks import Sink


class LedgerUnit(Protocol):
    """One ledger transaction under the chain's lock: state, history and outbox commit together."""

    def revisions(self) -> dict[str, RevisionState]: ...

    def open_run(self) -> Run | None:
        """Return the run that is open on the chain, if any: there is at most one."""

    def run(self, run_id: str) -> Run: ...

    def add_run(self, run: Run) -> None: ...

    def change_run(self, run_id: str, **changes: Any) -> Run:
        """Change fields of a run, such as status, ended_at, error, backed_up, source_run, caller, epoch.

        `facts={...}` merges into what is there.
        """

    def register(self, state: RevisionState) -> None:
        """Add a revision's row as pending, or refresh description and storage type of one never applied."""

    def set_status(
        self,
        revision: str,
        wanted: Status,
        *,
        run_id: str,
        reason: str | None = None,
        error: str | None = None,
    ) -> None:
        """Walk one edge of the state machine and append it to the history; Refused where there is none.

        applied_at, applied_run and rollback_at follow from the status; `error` None clears error_message
        on the way to upgrading and applied, and keeps it otherwise.
        """

    def resolve(self, run_id: str, by: str) -> int:
        """Mark the records that `run_id` left as carried by the run `by`, those that it left again aside."""

    def note(self, run_id: str | None, kind: str, detail: Mapping[str, Any]) -> None:
        """Append a history entry that is no status change."""

    def say(self, run_id: str, label: str, data: Mapping[str, Any]) -> str:
        """Put an event into the outbox; return its id (a UUID)."""


class Ledger(Protocol):
    """Our tables, in a PostgreSQL database of their own."""

    def check(self) -> Mapping[str, str]:
        """Answer with server facts, bringing the ledger's own schema up to date."""

    def unit(self) -> AbstractContextManager[LedgerUnit]: ...

    def revisions(self) -> dict[str, RevisionState]: ...

    def run(self, run_id: str) -> Run: ...

    def run_of(self, dag_id: str, dag_run_id: str) -> Run | None:
        """Return the run that this Airflow run opened or took over."""

    def runs(self, revision: str | None = None, limit: int = 50) -> list[Run]:
        """Return the latest runs first."""

    def next_epoch(self) -> int:
        """Return a number higher than any before."""

    def heartbeat(self, run_id: str, run_epoch: int, seconds: float) -> Standing:
        """Renew the run's lease on the ledger's clock, and say what it is asked to do.

        StaleEpoch where another DAG run has taken over.
        """

    def pause(self, run_id: str, *, by: str, reason: str) -> Run:
        """Ask an open run to stop between batches until it is resumed; Refused for one that has ended."""

    def resume(self, run_id: str, *, by: str) -> Run:
        """Let a paused run go on; one that is not paused is returned as it is."""

    def hold(self, fence: Fence, reason: str) -> None:
        """Say that a shard waits, and for what; its next claim or save ends that. StaleEpoch if taken over."""

    def quarantine(
        self, fence: Fence, conn_id: str, resource: str, records: Sequence[Quarantined], *, budget: int
    ) -> None:
        """List records that a shard leaves as they are; those listed before stay once.

        QuarantineFull, and nothing is listed, where the run would then have more than `budget`.
        """

    def quarantined(self, run_id: str | None = None) -> list[QuarantinedRecord]:
        """Return the records that a run left as they were; without a run, all that still wait."""

    def silent(self, run_id: str) -> bool:
        """Whether a worker of the run has let the lease run out while it worked, on the ledger's clock.

        One whose shards wait, or that is between two tasks, is not silent.
        """

    def lease_age(self, run_id: str) -> float | None:
        """Return seconds since the lease ran out (negative: still held), or None if never taken."""

    def plan_shards(self, run_id: str, phase: str, step: int, ranges: Sequence[KeyRange]) -> list[ShardState]:
        """Record a step's shards; if they were planned before, return those and change nothing."""

    def shards(self, run_id: str, phase: str | None = None) -> list[ShardState]:
        """Return shards in order; with phase None those of every phase."""

    def claim(self, run_id: str, phase: str, step: int, shard: int, holder: str) -> tuple[Fence, ShardState]:
        """Take a shard over with a new epoch."""

    def refuse_stale(self, fence: Fence) -> None:
        """Raise StaleEpoch where another worker has the shard."""

    def save(self, fence: Fence, progress: Progress, *, rate: float | None = None) -> None:
        """Set a shard's progress (state done where it says so); StaleEpoch if it was taken over.

        rate: records a second of late, for the estimate of when it ends.
        """

    def win_batch(self, fence: Fence, entry: BatchEntry) -> None:
        """Insert a batch's row; StaleEpoch if the shard was taken over or the row is there."""

    def close_batch(self, fence: Fence, entry: BatchEntry, state: str) -> None:
        """Set the batch's state and the shard's progress together; StaleEpoch if taken over."""

    def batches(self, run_id: str, phase: str, step: int, shard: int | None = None) -> list[BatchEntry]:
        """Return batches in order, newest last."""

    def set_batch_state(self, run_id: str, phase: str, entry: BatchEntry, state: str) -> None: ...

    def save_backup(self, manifest: Manifest, *, proven: bool) -> None: ...

    def backups(self, run_id: str) -> list[Manifest]:
        """Return the backups of a run, proven or not; `Run.backed_up` says whether all of them are."""

    def history(self, revision: str | None = None) -> list[dict[str, Any]]: ...

    def verify_history(self) -> str | None:
        """Recompute the hash chain; return the first broken entry's id, or None."""

    def pending_events(self) -> int: ...

    def deliver(self, sink: Sink, *, limit: int = 100) -> int:
        """Hand pending events to a sink in order, marking each as it goes; return how many went.

        An event that fails stays, with its error, and those of the same run behind it wait.
        """
