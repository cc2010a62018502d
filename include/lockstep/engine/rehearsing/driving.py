"""Move one revision one step on the stage, task by task in the order of its DAG, and say what each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lockstep.domain.chain import Chain
from lockstep.domain.errors import LockstepError
from lockstep.domain.progress import Phase
from lockstep.domain.rehearsal import HeldLock
from lockstep.domain.revision import Direction, Revision
from lockstep.domain.run import Caller, Run
from lockstep.domain.status import RunStatus
from lockstep.engine.atomic import run_atomic
from lockstep.engine.backup import take_backup
from lockstep.engine.opening import open_run
from lockstep.engine.ports.gauges import LockLog
from lockstep.engine.proving import prove_backups
from lockstep.engine.recording import note_failure, record
from lockstep.engine.rehearsing.crew import Crew, Job, Worked, wall
from lockstep.engine.rehearsing.distribution import summary
from lockstep.engine.rehearsing.samples import Showing
from lockstep.engine.rehearsing.stage import Stage
from lockstep.engine.steps import operation_of, plan_step, settle
from lockstep.engine.undo import verify_restored, way_down
from lockstep.engine.verify import verify

#: tries of a task that meets an error which may pass
TRIES = 3
GOOD = frozenset({RunStatus.APPLIED, RunStatus.APPLIED_WITH_QUARANTINE, RunStatus.DOWNGRADED})


@dataclass(kw_only=True)
class Task:
    """One task of the revision's DAG."""

    name: str
    seconds: float
    #: what it said, where that is worth keeping
    said: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Operated:
    """One operation, tried."""

    step: int
    title: str
    describe: str
    batched: bool
    seconds: float = 0.0
    planning: float = 0.0
    shards: list[dict[str, Any]] = field(default_factory=list)
    read: int = 0
    written: int = 0
    quarantined: int = 0
    batches: dict[str, Any] | None = None
    locks: list[HeldLock] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)


@dataclass(kw_only=True)
class Trouble:
    """Where it went wrong: the operation, in a person's words, and what was said."""

    where: str
    error: str
    step: int | None = None
    operation: str | None = None


@dataclass(kw_only=True)
class Trial:
    """One revision moved one step on the copy."""

    direction: Direction
    run: Run
    tasks: list[Task] = field(default_factory=list)
    operations: list[Operated] = field(default_factory=list)
    #: in one transaction
    atomic: bool = False
    #: of such a direction, all of it together
    locks: list[HeldLock] = field(default_factory=list)
    trouble: Trouble | None = None
    #: whether what a failed upgrade did was taken back; None where it did not fail
    undone: bool | None = None

    @property
    def good(self) -> bool:
        return self.run.status in GOOD and self.trouble is None

    def seconds_of(self, *names: str) -> float:
        """Return what tasks of these names, or that begin with them, took."""
        return sum(task.seconds for task in self.tasks if task.name.startswith(names))

    @property
    def seconds(self) -> float:
        return sum(task.seconds for task in self.tasks)


class Drive:
    """One revision's way, in one direction."""

    def __init__(
        self,
        stage: Stage,
        chain: Chain,
        revision: Revision,
        direction: Direction,
        *,
        crew: Crew,
        showing: Showing,
        locks: Mapping[Any, LockLog],
        number: int,
    ) -> None:
        self.stage = stage
        self.services = stage.services
        self.chain = chain
        self.revision = revision
        self.direction = direction
        self.crew = crew
        self.showing = showing
        self.locks = locks
        self.caller = Caller(
            dag_id=revision.dag_id,
            dag_run_id=f"{stage.mark}-{number}",
            by=f"rehearsal {stage.rehearsal.id}",
        )
        self.tasks: list[Task] = []
        self.trouble: Trouble | None = None

    def go(self) -> Trial:
        """Do it, and return what came of it; only what says nothing of the revision is raised."""
        run = self._timed("open_run", self._open)
        trial = Trial(
            direction=self.direction,
            run=run,
            tasks=self.tasks,
            atomic=self.revision.is_atomic(self.direction),
        )
        if run.status is not RunStatus.OPEN:
            self.trouble = Trouble(where="opening its run", error=f"the run is {run.status}")
        elif self._backed_up(run) and self._moved(trial, run, self.direction):
            self._check(run)
        if run.status is RunStatus.OPEN:
            if self.trouble is not None and self.direction == "upgrade":
                trial.undone = self._undo(trial, run)
            trial.run = self._timed("record", lambda: record(self.services, self.revision, run))
        trial.trouble = self.trouble
        return trial

    def _open(self) -> Run:
        return open_run(
            self.services,
            self.chain,
            self.revision,
            direction=self.direction,
            caller=self.caller,
            params={"on_failure": "downgrade", "lossy": True},
            alive=lambda other: False,
        )

    def _backed_up(self, run: Run) -> bool:
        for database in self.revision.databases:
            name = f"backup {database.conn_id}"
            if not self._task(run, name, partial(take_backup, self.services, self.revision, run, database)):
                return False
        return self._task(run, "prove", lambda: prove_backups(self.services, self.revision, run))

    def _check(self, run: Run) -> None:
        if self.direction == "upgrade":
            self._task(run, "verify", lambda: verify(self.services, self.revision, run))
        else:
            self._task(run, "verify_restored", lambda: verify_restored(self.services, self.revision, run))

    def _moved(self, trial: Trial, run: Run, phase: Phase) -> bool:
        """Do every step of a phase; say whether all of it is done."""
        done = self._whole(trial, run, phase) if self.revision.is_atomic(self.direction) else True
        if not self.revision.is_atomic(self.direction):
            done = self._steps(trial, run, phase)
        return done and self._task(
            run, "settle", lambda: settle(self.services, self.revision, run, phase, {})
        )

    def _steps(self, trial: Trial, run: Run, phase: Phase) -> bool:
        count = len(self.revision.operations(self.direction))
        for step in range(count, 0, -1) if phase == "undo" else range(1, count + 1):
            operated = self._operated(phase, step)
            if phase != "undo":
                trial.operations.append(operated)
            if not self._step(run, phase, operated):
                return False
        return True

    def _step(self, run: Run, phase: Phase, operated: Operated) -> bool:
        step, operation = operated.step, operation_of(self.revision, phase, operated.step)
        labels: list[str] = []

        def plan() -> None:
            labels.extend(
                plan_step(
                    self.services, self.revision, run, phase, step, shards=self.services.settings.shards
                )
            )

        began = len(self.tasks)
        if not self._task(run, f"plan {step}", plan, operated):
            return False
        operated.planning = self.tasks[began].seconds
        self.showing.before(operation, phase)
        self._forget_locks()
        jobs = [
            Job(stem=self.revision.stem, run_id=run.id, phase=phase, step=step, shard=shard)
            for shard in range(len(labels))
        ]
        worked = self.crew.together(jobs)
        self._took(operated, labels, worked)
        operated.locks = self._seen_locks()
        self.tasks.append(Task(name=f"step {step}", seconds=operated.seconds))
        failed = next((one.problem for one in worked if one.problem is not None), None)
        if failed is not None:
            self._fail(run, f"{phase}, step {step}", failed, operated)
            return False
        operated.samples = self.showing.after(operation, phase)
        return True

    def _took(self, operated: Operated, labels: Sequence[str], worked: Sequence[Worked]) -> None:
        operated.seconds = wall(worked)
        for label, one in zip(labels, worked, strict=True):
            facts = one.facts
            operated.read += int(facts.get("read", 0))
            operated.written += int(facts.get("written", 0))
            operated.quarantined += int(facts.get("quarantined", 0))
            operated.shards.append(
                {"label": label, "seconds": round(one.ended - one.began, 4), "waited": round(one.waited, 3)}
                | {name: facts[name] for name in ("read", "written", "batches") if name in facts}
            )
        kept = [seconds for one in worked for seconds in one.batches]
        count = sum(one.batch_count for one in worked)
        operated.batches = summary(kept, count, max((one.longest_batch for one in worked), default=0.0))

    def _whole(self, trial: Trial, run: Run, phase: Phase) -> bool:
        """Do a direction that is one transaction."""
        operations = self.revision.operations(self.direction)
        for operation in operations:
            self.showing.before(operation, phase)
        self._forget_locks()
        groups = len(self.stage.log.groups)
        came: dict[str, Any] = {}

        def work() -> None:
            came.update(run_atomic(self.services, self.revision, run, phase, holder="a rehearsal"))

        good = self._task(run, "in one transaction", work)
        trial.locks += self._seen_locks()
        if phase == "undo":
            return good
        spent = dict(self.stage.log.groups[groups:])
        for step, operation in enumerate(operations, 1):
            operated = self._operated(phase, step)
            operated.batched = False
            operated.seconds = spent.get(f"step {step}: {operation.describe()}", 0.0)
            operated.samples = self.showing.after(operation, phase) if good else []
            trial.operations.append(operated)
        ended = sum(title.startswith("step ") for title in spent)
        if not good and ended < len(operations):
            self._blame(trial.operations[ended])
        elif trial.operations:
            trial.operations[-1].read = int(came.get("read", 0))
            trial.operations[-1].written = int(came.get("written", 0))
        return good

    def _operated(self, phase: Phase, step: int) -> Operated:
        operation = operation_of(self.revision, phase, step)
        return Operated(
            step=step,
            title=operation.title,
            describe=operation.describe(),
            batched=operation.batched,
        )

    def _undo(self, trial: Trial, run: Run) -> bool:
        """Take back what a failed upgrade did, as the live run would; say whether all is as it was."""
        trouble, self.trouble = self.trouble, None
        way = way_down(self.services, self.revision, run)
        good = way == "none" or (
            self._moved(trial, run, "undo")
            and self._task(run, "verify_restored", lambda: verify_restored(self.services, self.revision, run))
        )
        if self.trouble is not None and trouble is not None:
            trouble = replace(trouble, error=f"{trouble.error} And its undo failed: {self.trouble.error}")
        self.trouble = trouble
        return good

    def _task(self, run: Run, name: str, work: Callable[[], Any], operated: Operated | None = None) -> bool:
        """Do what a task does, again where the error may pass; keep its seconds, its words and its failure."""
        for attempt in range(1, TRIES + 1):
            try:
                self._timed(name, work)
            except LockstepError as problem:
                if problem.transient and attempt < TRIES:
                    continue
                self._fail(run, name, problem, operated)
                return False
            return True
        return False

    def _timed(self, name: str, work: Callable[[], Any]) -> Any:
        self.stage.log.lines.clear()
        began = time.monotonic()
        try:
            return work()
        finally:
            said = list(self.stage.log.lines) if name.startswith(("verify", "prove")) else []
            self.tasks.append(Task(name=name, seconds=time.monotonic() - began, said=said))

    def _fail(self, run: Run, where: str, problem: LockstepError, operated: Operated | None = None) -> None:
        note_failure(self.services, run.id, where, problem)
        self.trouble = Trouble(where=f"{self.direction} of {self.revision.id}, {where}", error=str(problem))
        if operated is not None:
            self._blame(operated)

    def _blame(self, operated: Operated) -> None:
        assert self.trouble is not None
        self.trouble.step, self.trouble.operation = operated.step, operated.title

    def _forget_locks(self) -> None:
        for log in self.locks.values():
            log.held()

    def _seen_locks(self) -> list[HeldLock]:
        return [lock for log in self.locks.values() for lock in log.held()]
