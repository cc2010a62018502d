"""How far a run of `migrate` is, from Airflow's word and the ledger's."""

from dataclasses import dataclass, replace
from datetime import datetime, timezone

from lockstep.demo.pace import Pace, pace_of
from lockstep.domain.chain import Chain
from lockstep.domain.revision import Revision
from lockstep.domain.run import RevisionState, Run, ShardState
from lockstep.domain.status import Status
from lockstep.embedded.airflow_api import AirflowApi, DagRun
from lockstep.stores.ledger import PostgresLedger

#: Runs that a glance looks at; a chain of more revisions than this is no demo.
LATEST = 100
GOING = frozenset({"running", "queued", "scheduled", "deferred", "up_for_retry"})


@dataclass(frozen=True, kw_only=True)
class Step:
    """One revision on the way to head."""

    revision: str
    description: str
    #: waiting, running, success, failed; standing for one that was applied before.
    state: str
    #: What the ledger says of it.
    status: str
    doing: str = ""
    #: How fast its present step goes, if that is known.
    pace: Pace | None = None
    records: int = 0
    seconds: float | None = None
    backup_bytes: int = 0
    dag_id: str
    #: None while it has none.
    dag_run_id: str | None = None

    @property
    def over(self) -> bool:
        return self.state in ("success", "failed")


@dataclass(frozen=True, kw_only=True)
class Observer:
    """Look at a run of `migrate` and at the runs that it started."""

    api: AirflowApi
    ledger: PostgresLedger
    chain: Chain
    run_id: str

    def look(self) -> tuple[Step, ...]:
        """Return where each revision is now."""
        latest = self.api.latest_runs(LATEST)
        started = {run.dag_id: run for run in reversed(latest) if run.run_id.startswith(f"{self.run_id}__")}
        states = self.ledger.revisions()
        return tuple(
            self._step(revision, states.get(revision.id), started.get(revision.dag_id))
            for revision in self.chain.revisions
        )

    def _step(self, revision: Revision, known: RevisionState | None, dag_run: DagRun | None) -> Step:
        status = Status.PENDING if known is None else known.status
        step = Step(
            revision=revision.id,
            description=revision.description,
            dag_id=revision.dag_id,
            state="standing" if status is Status.APPLIED else "waiting",
            status=status.value,
        )
        if dag_run is None:
            return step
        run = self.ledger.run_of(dag_run.dag_id, dag_run.run_id)
        shards = [] if run is None else self._shards(run)
        return replace(
            step,
            state=dag_run.state if dag_run.over else "running",
            doing="" if dag_run.over else self._doing(dag_run),
            pace=None if dag_run.over else pace_of(shards),
            records=sum(shard.progress.written for shard in shards),
            seconds=_seconds(dag_run),
            backup_bytes=self._backup_bytes(run) if dag_run.over else 0,
            dag_run_id=dag_run.run_id,
        )

    def _doing(self, dag_run: DagRun) -> str:
        tasks = self.api.tasks(dag_run.dag_id, dag_run.run_id)
        names = {task.task_id.replace("upgrade.", "", 1) for task in tasks if task.state in GOING}
        return ", ".join(sorted(names)) or "between two tasks"

    def _shards(self, run: Run) -> list[ShardState]:
        return self.ledger.shards(run.id, run.direction)

    def _backup_bytes(self, run: Run | None) -> int:
        return 0 if run is None else sum(manifest.size for manifest in self.ledger.backups(run.id))


def _seconds(dag_run: DagRun) -> float | None:
    if dag_run.started is None:
        return None
    return ((dag_run.ended or datetime.now(timezone.utc)) - dag_run.started).total_seconds()
