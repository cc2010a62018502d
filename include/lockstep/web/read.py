"""What the ledger knows of one run, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from lockstep.domain.errors import DataError, Refused
from lockstep.domain.plan import Plan
from lockstep.domain.readiness import Readiness
from lockstep.domain.revision import Direction
from lockstep.domain.run import Run, ShardState
from lockstep.engine.ports import Ledger


def _nothing_kept(path: str) -> bytes:
    raise DataError(f"there is no {path} in the vault.", path=path)


def _nobody_looks(revisions: Collection[str] | None) -> Sequence[Readiness]:
    raise Refused("here nobody can look at the databases: ask on Airflow's own server.")


def _nobody_plans(target: str, direction: Direction) -> Plan:
    raise Refused("here nobody can look at the databases: ask on Airflow's own server.")


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads one ledger, opened for each question and closed after it."""

    ledger: Callable[[], Ledger]
    #: where a path of the vault is, such as s3://bucket/path, without credentials
    uri: Callable[[str], str]
    #: the body of an object of the vault; DataError where there is none
    kept: Callable[[str], bytes] = _nothing_kept
    #: what a downgrade of the revisions that are named, or of all that are applied, would do now
    ready: Callable[[Collection[str] | None], Sequence[Readiness]] = _nobody_looks
    #: what would be done on the way to a target
    plan: Callable[[str, Direction], Plan] = _nobody_plans

    def run(self, run_id: str) -> Run:
        """Return a run; Refused where there is none."""
        return self.ledger().run(run_id)

    def run_of(self, dag_id: str, dag_run_id: str) -> Run | None:
        """Return the run that an Airflow run worked for."""
        return self.ledger().run_of(dag_id, dag_run_id)

    def entry(self, run: Run) -> dict[str, Any]:
        """Return a run with its shards, the records that it left, its history and its backups."""
        ledger = self.ledger()
        state = ledger.revisions().get(run.revision)
        shards = [
            {"phase": phase, **shard_facts(shard)}
            for phase in ("upgrade", "undo", "downgrade")
            for shard in ledger.shards(run.id, phase)
        ]
        history = [entry for entry in ledger.history(run.revision) if entry.get("run_id") == run.id]
        found: dict[str, Any] = plain(
            {
                "run": asdict(run),
                "revision": asdict(state) if state else None,
                "shards": shards,
                "quarantined": [asdict(record) for record in ledger.quarantined(run.id)],
                "history": history,
                "backups": [self.uri(manifest.path) for manifest in ledger.backups(run.id)],
            }
        )
        return found

    def manifests(self, run: Run) -> list[dict[str, Any]]:
        """Return the manifests of a run's backups."""
        found = [
            {**asdict(manifest), "size": manifest.size, "uri": self.uri(manifest.path)}
            for manifest in self.ledger().backups(run.id)
        ]
        listed: list[dict[str, Any]] = plain(found)
        return listed


def shard_facts(shard: ShardState) -> dict[str, Any]:
    """Return how far a shard is; what nobody counted or measured is None."""
    return {
        "step": shard.step,
        "shard": shard.shard,
        "label": shard.label,
        "state": shard.state,
        "waits_for": shard.held,
        "batches": shard.progress.batches,
        "estimate": shard.estimate,
        "read": shard.progress.read,
        "written": shard.progress.written,
        "quarantined": shard.progress.quarantined,
        "rate": shard.rate if shard.state == "running" else None,
        "eta_seconds": seconds_left(shard),
    }


def seconds_left(shard: ShardState) -> float | None:
    """Return about how long a shard that runs still takes; None without an estimate or a rate."""
    if shard.state != "running" or shard.estimate is None or not shard.rate:
        return None
    return round(max(shard.estimate - shard.progress.read, 0) / shard.rate, 1)


def plain(value: Any) -> Any:
    """Return a value as JSON knows it; times in UTC as ISO 8601."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
