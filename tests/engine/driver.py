"""Drive a run through the engine in the order that the DAG has, task by task, without Airflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import LockstepError
from lockstep.domain.progress import Phase
from lockstep.domain.revision import Direction, Revision
from lockstep.domain.run import Caller, Run
from lockstep.domain.status import RunStatus
from lockstep.engine.atomic import run_atomic
from lockstep.engine.backup import take_backup
from lockstep.engine.choosing import (
    Failure,
    Question,
    choose,
    question_after_upgrade,
    question_after_way_back,
    way_after_way_back,
)
from lockstep.engine.emitting import emit
from lockstep.engine.opening import current_run, open_run
from lockstep.engine.outcome import outcome
from lockstep.engine.proving import prove_backups
from lockstep.engine.putting_back import put_back
from lockstep.engine.recording import note_failure, record
from lockstep.engine.services import Services
from lockstep.engine.steps import plan_step, run_step_shard, settle
from lockstep.engine.undo import verify_restored, way_down
from lockstep.engine.verify import verify


class Crash(BaseException):
    """A worker that ends here and now, as by kill -9: nothing of ours runs after it."""


@dataclass
class Bomb:
    """Crash at the n-th time that a place is reached."""

    place: str
    times: int
    seen: int = 0

    def __call__(self, place: str) -> None:
        if place == self.place:
            self.seen += 1
            if self.seen == self.times:
                raise Crash(place)


class PlainLog:
    """A log that tests can read."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(event)

    warning = error = info

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        self.lines.append(f"> {title}")
        yield

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@dataclass
class Driver:
    """An Airflow of one worker: each attempt of a task is a call, a failed one is tried again."""

    services: Callable[[Callable[[str], None]], Services]
    migrations: Path
    log: PlainLog
    shards: int = 2
    #: attempts of a task that crashes or meets a transient error
    attempts: int = 3
    bomb: Callable[[str], None] = field(default=lambda place: None)
    dag_runs: int = 0
    living: set[str] = field(default_factory=set)
    #: what a person chooses, one after another, and what they were asked
    answers: list[str] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)
    #: called while the run waits for an answer
    waiting: Callable[[], None] = field(default=lambda: None)
    clock: datetime = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)

    def open(
        self, revision_id: str, direction: Direction = "upgrade", **params: Any
    ) -> tuple[Services, Revision, Run]:
        """Open a run, as a new DAG run."""
        self.dag_runs += 1
        chain = load_chain(self.migrations)
        revision = chain[revision_id]
        services = self.services(self.bomb)
        caller = Caller(dag_id=revision.dag_id, dag_run_id=f"run-{self.dag_runs}", by="olga")
        run = open_run(
            services,
            chain,
            revision,
            direction=direction,
            caller=caller,
            params=params,
            alive=lambda other: other.dag_run_id in self.living,
        )
        return services, revision, run

    def go(self, revision_id: str, direction: Direction = "upgrade", **params: Any) -> Run:
        """Run a revision's DAG from trigger to its end, and return the run as recorded."""
        _, revision, run = self.open(revision_id, direction, **params)
        return self.finish(revision, run)

    def finish(self, revision: Revision, run: Run) -> Run:
        """Do every task after open_run."""
        if run.status is RunStatus.NOTHING_TO_DO:
            return run
        while True:
            self.going_up(revision, run)
            if self.asks(revision, run, "upgrade") == "retry":
                continue  # the DAG run starts over: what is done passes
            way = way_down(self.services(self.bomb), revision, run)
            if way in ("undo", "downgrade") and self.phase(revision, run, cast(Phase, way)):
                self.task(run, "verify_restored", verify_restored, revision, run)
            if way == "none" or self.put_back(revision, run) != "retry":
                break
        self.task(run, "record", record, revision, run)
        self.task(run, "emit", emit)
        return self.services(self.bomb).ledger.run(run.id)

    def going_up(self, revision: Revision, run: Run) -> None:
        """Back up, prove, and for an upgrade do every step and verify."""
        going = all(
            self.task(run, f"backup {database.conn_id}", take_backup, revision, run, database)
            for database in revision.databases
        ) and self.task(run, "backup.prove", prove_backups, revision, run)
        if going and run.direction == "upgrade" and self.phase(revision, run, "upgrade"):
            self.task(run, "verify", verify, revision, run)

    def asks(self, revision: Revision, run: Run, failure: Failure, *, tried: bool = False) -> str | None:
        """Put the run's question, if it has one, to the next of `answers`; return what it was."""
        services = self.services(self.bomb)
        if failure == "upgrade":
            question = question_after_upgrade(services, revision, run)
        else:
            question = question_after_way_back(services, revision, run, tried=tried)
        if question is None:
            return None
        self.asked.append(question)
        self.waiting()
        answer = self.answers.pop(0)
        assert answer in question.choices
        self.clock += timedelta(seconds=1)
        assert choose(services, revision, run, failure, answer, by="paul", at=self.clock)
        return answer

    def put_back(self, revision: Revision, run: Run) -> str | None:
        """Do the task put_back; return what was chosen, if anybody was asked."""
        answer = self.asks(revision, run, "way_back")
        while answer != "retry":
            if way_after_way_back(self.services(self.bomb), revision, run) != "restore":
                return answer
            if self.task(run, "put_back", put_back, revision, run):
                return answer
            # Asked after that: to retry is to do the same once more, in the same task.
            answer = self.asks(revision, run, "way_back", tried=True)
            if answer != "retry":
                return answer
            answer = None
        return answer

    def phase(self, revision: Revision, run: Run, phase: Phase) -> bool:
        direction: Direction = "downgrade" if phase == "downgrade" else "upgrade"
        if revision.is_atomic(direction):
            return self.task(run, phase, run_atomic, revision, run, phase, holder="driver")
        count = len(revision.operations(direction))
        steps = range(count, 0, -1) if phase == "undo" else range(1, count + 1)
        if not all(self.step(revision, run, phase, step) for step in steps):
            return False
        return self.task(run, "settle", settle, revision, run, phase, {})

    def step(self, revision: Revision, run: Run, phase: Phase, step: int) -> bool:
        """Do every shard of a step; a failed one does not stop its siblings."""
        if not self.task(run, "plan", plan_step, revision, run, phase, step, shards=self.shards):
            return False
        ledger = self.services(self.bomb).ledger
        planned = [shard for shard in ledger.shards(run.id, phase) if shard.step == step]
        ended = [
            self.task(
                run,
                f"{phase} step {step} shard {shard.shard}",
                run_step_shard,
                revision,
                run,
                phase,
                step,
                shard.shard,
                holder="driver",
            )
            for shard in planned
        ]
        return all(ended)

    def task(self, run: Run, where: str, work: Callable[..., Any], *args: Any, **more: Any) -> bool:
        """Call a use case as a task would: again after a crash, noted after a failure."""
        for attempt in range(1, self.attempts + 1):
            services = self.services(self.bomb)
            try:
                work(services, *args, **more)
            except Crash:
                continue
            except LockstepError as problem:
                if problem.transient and attempt < self.attempts:
                    continue
                self.log.error(f"{where}: {problem}")
                note_failure(services, run.id, where, problem)
                return False
            return True
        return False

    def outcome(self, run: Run) -> dict[str, Any]:
        chain = load_chain(self.migrations)
        return outcome(self.services(self.bomb), chain[run.revision], run)

    def again(self, run: Run) -> Run:
        """Return the run by its DAG run, as a task does."""
        return current_run(self.services(self.bomb), run.caller.dag_id, run.caller.dag_run_id)


def smaller(services: Services, **settings: Any) -> Services:
    """Return the services with other settings."""
    return replace(services, settings=replace(services.settings, **settings))
