"""A run: one attempt to move one revision one step, ours and not Airflow's DagRun."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from lockstep.domain.progress import Progress
from lockstep.domain.revision import Direction
from lockstep.domain.status import RunStatus, Status

#: what a run does: moves a revision one step, puts a backup back, or is a person's word about a revision's state
Way = Direction | Literal["restore", "baseline", "repair", "accept"]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Which Airflow run works for a Lockstep run, and who asked for it."""

    dag_id: str
    dag_run_id: str
    #: the person or service that triggered it, as Airflow knows them
    by: str = "unknown"
    #: the DAG run that triggered this one, if any, as "dag_id/run_id"
    parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A person's word that a run is to stop between batches."""

    by: str
    reason: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What the ledger answers to a heartbeat."""

    #: the ledger's clock
    now: datetime
    pause: Pause | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    id: str
    revision: str
    direction: Way
    status: RunStatus
    caller: Caller
    checksum: str
    started_at: datetime
    ended_at: datetime | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    #: the backups of this run were proven
    backed_up: bool = False
    #: the run whose effects a downgrade takes back
    source_run: str | None = None
    error: str | None = None
    #: rises when another DAG run takes this run over
    epoch: int = 1
    #: whatever else later steps need: fingerprints, counts (JSON)
    facts: Mapping[str, Any] = field(default_factory=dict)
    #: who asked it to stop between batches; None while it may go on
    pause: Pause | None = None


@dataclass(frozen=True, kw_only=True)
class RevisionState:
    """A row of `_migrations`."""

    id: str
    description: str
    storage_type: str
    status: Status
    checksum: str
    down_revision: str | None = None
    applied_at: datetime | None = None
    rollback_at: datetime | None = None
    error_message: str | None = None
    #: the run that applied it last
    applied_run: str | None = None
    last_run: str | None = None


@dataclass(frozen=True, kw_only=True)
class ShardState:
    """A shard as the ledger knows it."""

    step: int
    shard: int
    label: str
    lower: str | None
    upper: str | None
    #: planned, running, held, done
    state: str
    epoch: int
    progress: Progress
    #: only these keys of the range; None for all of it
    keys: tuple[str, ...] | None = None
    #: about how many records it holds; None where nobody counted or sampled
    estimate: int | None = None
    #: records a second, of late
    rate: float | None = None
    #: what it waits for, in state held
    held: str | None = None


@dataclass(frozen=True, kw_only=True)
class BatchEntry:
    """A journaled batch of a document or object store: won by one unique row."""

    step: int
    shard: int
    batch: int
    #: won (may or may not be written), applied, undone
    state: str
    #: where the before- and after-images lie in the vault, and their SHA-256
    path: str
    sha256: str
    #: what the shard's progress is once the batch is applied
    progress: Progress
