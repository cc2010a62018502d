"""The port to Lockstep's own tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from lockstep.domain.approval import Approval
from lockstep.domain.backups import Proof, StoredBackup
from lockstep.domain.events import Relayed
from lockstep.domain.history import BrokenLink, Head, Segment
from lockstep.domain.parked import Parked
from lockstep.domain.progress import Fence, KeyRange, Manifest, Progress
from lockstep.domain.quarantine import Quarantined, QuarantinedRecord
from lockstep.domain.rehearsal import Compared, Rehearsal
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
        applied_run: str | None = None,
    ) -> None:
        """Walk one edge of the state machine and append it to the history; Refused where there is none.

        applied_at, applied_run and rollback_at follow from the status; `error` None clears error_message
        on the way to upgrading and applied, and keeps it otherwise. `applied_run`: on the way to applied, the run
        whose effects stand, where it is another than this one.
        """

    def accept_checksum(self, revision: str, checksum: str) -> None:
        """Let an applied revision's file have this checksum; Refused for one that is not applied."""

    def resolve(self, run_id: str, by: str) -> int:
        """Mark the records that `run_id` left as carried by the run `by`, those that it left again aside."""

    def note(
        self, run_id: str | None, kind: str, detail: Mapping[str, Any], *, who: str | None = None
    ) -> None:
        """Append a history entry that is no status change; `who` did it, unless it was who asked for the run."""

    def add_approval(self, approval: Approval) -> Approval:
        """Keep an approval, given now on the ledger's clock; return it as it is kept."""

    def void_approval(self, approval_id: int, why: str) -> bool:
        """Let an approval count no more; return whether it did until now."""

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

    def ended_leases(self, *, remove: bool) -> list[str]:
        """Return the runs that have ended and whose leases have run out; remove: those leases go."""

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

    def save_backup(self, manifest: Manifest, *, proof: Proof | None) -> None:
        """Save a backup, and how it was proven; saved again without a proof, it is unproven.

        It replaces what an earlier attempt of the run saved for that database. StaleEpoch where the run's backups
        are proven already.
        """

    def backups(self, run_id: str) -> list[Manifest]:
        """Return the backups of a run, proven or not; `Run.backed_up` says whether all of them are."""

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
        """Return backups with their runs' ends, latest first; removed: those whose files are gone too.

        files: False leaves the lists of files empty, which may be long.
        """

    def backup_checked(self, manifest: Manifest, *, problem: str | None) -> None:
        """Note that a backup was read just now, and what was wrong with it."""

    def backup_removed(self, manifest: Manifest) -> None:
        """Note that a backup's files are gone from the vault."""

    def sync_parked(self, conn_id: str, found: Sequence[Parked], *, why: str) -> int:
        """Make the list of what is parked in a database what its store shows; return how many things went.

        why: why those that are not there any more are gone, such as "taken back".
        """

    def parked(self, *, gone: bool = False) -> list[Parked]:
        """Return what is parked, oldest first; gone: what was, too."""

    def save_shape(self, conn_id: str, run_id: str, shape: Mapping[str, str]) -> None:
        """Keep the shape that a database had at a run's end: object → definition."""

    def shapes(self) -> dict[str, tuple[str, datetime, dict[str, str]]]:
        """Return the latest shape of each database: connection id → (run, when, object → definition)."""

    def add_rehearsal(self, rehearsal: Rehearsal) -> None: ...

    def change_rehearsal(self, rehearsal_id: str, **changes: Any) -> Rehearsal:
        """Change revisions, report_path, report_sha256, predicted, facts (merged) or verdict, which ends it."""

    def rehearsal(self, rehearsal_id: str) -> Rehearsal: ...

    def rehearsal_of(self, dag_id: str, dag_run_id: str) -> Rehearsal | None:
        """Return the rehearsal that an Airflow run began."""

    def rehearsals(self, limit: int = 50) -> list[Rehearsal]:
        """Return the latest rehearsals first."""

    def save_comparison(self, compared: Compared) -> None:
        """Keep what a rehearsal had predicted for a run beside what it took."""

    def comparisons(self, run_id: str | None = None) -> list[Compared]: ...

    def approvals(self, revision: str | None = None) -> list[Approval]:
        """Return who allowed what, of one revision or of all; the latest first."""

    def history(self, revision: str | None = None) -> list[dict[str, Any]]: ...

    def verify_history(self) -> str | None:
        """Recompute the hash chain; return the first broken entry's id, or None."""

    def broken_link(self) -> BrokenLink | None:
        """Recompute the hash chain; return the first place where it does not hold, or None."""

    def entries(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the history's entries that follow an id as plain JSON, oldest first."""

    def history_head(self) -> Head:
        """Return where the history's chain ends."""

    def segments(self) -> list[Segment]:
        """Return what of the history was put into the vault, in order."""

    def archived(self) -> int:
        """Return the id of the last entry that was put into the vault; 0 for none."""

    def add_segment(self, segment: Segment) -> None:
        """Note that a segment lies in the vault; noted before, nothing changes."""

    def pending_events(self) -> int: ...

    def deliver(self, sink: Sink, *, limit: int = 100) -> int:
        """Hand pending events to a sink in order, marking each as it goes; return how many went.

        An event that fails stays, with its error, and those of the same run behind it wait.
        """

    def busy_sinks(self, sinks: Sequence[str]) -> list[str]:
        """Return which of these sinks, by name, have events to get, or events that a carrier has; one query."""

    def waiting_for(self, sink: str) -> int:
        """Return how many events a sink, by name, is still to get; those with a carrier are not counted."""

    def relay(
        self,
        sink: Sink,
        *,
        limit: int = 100,
        also: Mapping[str, Any] | None = None,
        at_once: bool = False,
    ) -> Relayed:
        """Do the same for the events whose time has come, and raise only what the ledger itself raises.

        What failed is tried again later and later, up to an hour, and sooner once the sink takes another event; a
        sink that fails three times in a row is left alone until the next call. `also`: fields that every event is
        given besides its own. `at_once`: whatever is pending is tried now.
        """
