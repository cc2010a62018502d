"""How far a run of migrate is, from what Airflow says of it and of the runs that it started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from lockstep.cli.deploying.asked import MIGRATE
from lockstep.domain.errors import Refused
from lockstep.stores.airflow import AirflowClient, DagRun, TaskInstance

#: tasks of migrate and of a revision's DAG, and what they leave behind
PLAN, FOLLOW, OUTCOME = "plan", "follow", "outcome"
ERROR, WAITS_FOR, PLANNED = "error", "waits_for", "plan"
_GOING = frozenset({"running", "queued", "scheduled", "deferred", "up_for_retry", "awaiting_input"})
AWAITING = "awaiting_input"
#: a run's status where nobody said how it ended, and where the ledger says that it never began
UNKNOWN, NOT_OPENED = "unknown", "not_opened"


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How far the step is that a revision is at; None is what nobody counted or measured."""

    read: int
    estimate: int | None = None
    #: records a second
    rate: float | None = None
    seconds_left: float | None = None
    #: what it waits for
    held: str | None = None


@dataclass(frozen=True, kw_only=True)
class Step:
    """One revision on the way to the target."""

    revision: str
    description: str = ""
    #: pending, running, done or failed
    state: str = "pending"
    #: what the ledger says of it, as far as it is known; or UNKNOWN, NOT_OPENED
    status: str = "pending"
    records: int | None = None
    seconds: float | None = None
    doing: str = ""
    pace: Pace | None = None
    dag_id: str
    dag_run_id: str | None = None
    url: str | None = None


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen at one moment."""

    run: DagRun
    #: whether migrate has planned, so that the steps are all there are
    planned: bool
    steps: tuple[Step, ...]
    #: what the run waits for
    waits: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Observer:
    """Look at a run of migrate; what cannot change any more is asked for once."""

    client: AirflowClient
    run_id: str
    _route: list[dict[str, Any]] | None = None
    #: run id → what its outcome said
    _ended: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def look(self, *, closely: bool) -> Look:
        """Return where each revision is now; `closely` also how far the step of one that goes on."""
        run = self.client.run(MIGRATE, self.run_id)
        if run is None:
            raise Refused(
                f"somebody deleted the run {self.run_id!r} of {MIGRATE} in Airflow. The ledger knows what was done: "
                "ask again with another --key.",
                run_id=self.run_id,
            )
        tasks = self.client.tasks(MIGRATE, self.run_id)
        route = self._planned(tasks)
        children = self._children() if route else {}
        steps = tuple(self._step(hop, children.get(hop["dag_id"]), closely) for hop in route or [])
        return Look(
            run=run, planned=route is not None, steps=steps, waits=tuple(self._waits(run, tasks, steps))
        )

    def _planned(self, tasks: Sequence[TaskInstance]) -> list[dict[str, Any]] | None:
        planned = any(task.task_id == PLAN and task.state == "success" for task in tasks)
        if not planned:
            self._route = None  # somebody cleared it: there may be another plan
        elif self._route is None:
            known = described(self.client.told(MIGRATE, self.run_id, PLAN, PLANNED))
            route = route_of(self.client.told(MIGRATE, self.run_id, PLAN))
            self._route = [{"description": known.get(hop["revision"]), **hop} for hop in route]
        return self._route

    def _children(self) -> dict[str, DagRun]:
        """Return the newest run of each revision's DAG that this one started."""
        prefix = f"{self.run_id}__"
        found = self.client.runs(run_id_prefix_pattern=prefix, order_by="id")
        return {run.dag_id: run for run in found if run.run_id.startswith(prefix)}

    def _step(self, hop: Mapping[str, Any], run: DagRun | None, closely: bool) -> Step:
        step = Step(
            revision=str(hop["revision"]), description=str(hop.get("description") or ""), dag_id=hop["dag_id"]
        )
        if run is None:
            return step
        step = replace(
            step,
            state="running",
            status="running",
            seconds=_seconds(run),
            dag_run_id=run.run_id,
            url=self.client.run_url(run.dag_id, run.run_id),
        )
        return self._over(step, run) if run.over else self._going(step, run) if closely else step

    def _over(self, step: Step, run: DagRun) -> Step:
        facts = self._ended.get(run.run_id) or self._end_of(run)
        good = run.state == "success"
        return replace(
            step,
            state="done" if good else "failed",
            status=str(facts.get("status") or ("applied" if good else UNKNOWN)),
            records=facts.get("records"),
        )

    def _end_of(self, run: DagRun) -> Mapping[str, Any]:
        """Return what the run's outcome said, or what the ledger says of it; empty where nobody does."""
        facts = self.client.told(run.dag_id, run.run_id, OUTCOME)
        if not isinstance(facts, dict) or not facts:
            entry = self.client.ledger_entry(run.dag_id, run.run_id)
            if entry == {}:
                return {"status": NOT_OPENED}
            facts = (entry or {}).get("run")
        if not isinstance(facts, dict) or not facts:
            return {}
        self._ended[run.run_id] = facts
        return facts

    def _going(self, step: Step, run: DagRun) -> Step:
        tasks = self.client.tasks(run.dag_id, run.run_id)
        names = {task.task_id.removeprefix("upgrade.") for task in tasks if task.state in _GOING}
        entry = self.client.ledger_entry(run.dag_id, run.run_id) or {}
        return replace(
            step,
            doing=", ".join(sorted(names)) or "between two tasks",
            pace=pace_of(entry.get("shards") or []),
        )

    def _waits(self, run: DagRun, tasks: Sequence[TaskInstance], steps: Sequence[Step]) -> list[str]:
        """Say what the run waits for: its turn, or a person."""
        if run.over:
            return []
        said = [self._asks(run, task) for task in tasks if task.state == AWAITING]
        if any(task.task_id == PLAN and task.state == "deferred" for task in tasks):
            ahead = self.client.told(MIGRATE, self.run_id, PLAN, WAITS_FOR)
            said += [self._turn(one) for one in ahead or [] if isinstance(one, dict)]
        for step in steps:
            if step.state == "running" and step.dag_run_id is not None:
                child = replace(run, dag_id=step.dag_id, run_id=step.dag_run_id)
                asking = self.client.tasks(child.dag_id, child.run_id)
                said += [self._asks(child, task) for task in asking if task.state == AWAITING]
        return said

    def _asks(self, run: DagRun, task: TaskInstance) -> str:
        subject = (self.client.question(run.dag_id, run.run_id, task.task_id) or {}).get(
            "subject"
        ) or "a question"
        url = self.client.task_url(run.dag_id, run.run_id, task)
        return f"waits for a person: {subject} Answer at {url}/required_actions"

    def _turn(self, ahead: Mapping[str, Any]) -> str:
        url = self.client.run_url(str(ahead.get("dag_id")), str(ahead.get("run_id")))
        return (
            f"waits for its turn: {ahead.get('dag_id')} {ahead.get('run_id')!r}, which {ahead.get('by') or 'somebody'} "
            f"asked for, goes first: {url}"
        )


def route_of(told: Any) -> list[dict[str, Any]]:
    """Return the hops that migrate planned, from what its task left behind."""
    if isinstance(told, dict):
        told = told.get("route") or told.get("plan") or []
    found = told if isinstance(told, list) else []
    return [hop for hop in found if isinstance(hop, dict) and "revision" in hop and "dag_id" in hop]


def described(plan: Any) -> dict[Any, Any]:
    """Return what each revision of a plan does, by its id."""
    revisions = plan.get("plan") if isinstance(plan, dict) else None
    return {one.get("revision"): one.get("description") for one in revisions or [] if isinstance(one, dict)}


def pace_of(shards: Sequence[Mapping[str, Any]]) -> Pace | None:
    """Return the pace of the step that was planned last; None where none is, or all of it is done."""
    step = max((int(shard.get("step") or 0) for shard in shards), default=None)
    mine = [shard for shard in shards if int(shard.get("step") or 0) == step]
    going = [shard for shard in mine if shard.get("state") != "done"]
    if not going:
        return None
    estimates = [s.get("read") if s.get("state") == "done" else s.get("estimate") for s in mine]
    rates = [float(shard["rate"]) for shard in going if shard.get("rate")]
    lefts = [shard.get("eta_seconds") for shard in going]
    return Pace(
        read=sum(int(shard.get("read") or 0) for shard in mine),
        estimate=None if None in estimates else sum(int(one or 0) for one in estimates),
        rate=sum(rates) if rates else None,
        # Shards run side by side: the step takes as long as the one that takes longest.
        seconds_left=None if None in lefts else max(float(left or 0) for left in lefts),
        held=next((str(shard["waits_for"]) for shard in going if shard.get("waits_for")), None),
    )


def _seconds(run: DagRun) -> float | None:
    if run.started is None:
        return None
    return round(max(0.0, ((run.ended or datetime.now(timezone.utc)) - run.started).total_seconds()), 1)
