"""Whose turn it is: of the runs that move one environment one plans at a time, and none waits for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from lockstep.domain.errors import Refused

NOON = datetime(2031, 5, 1, 12, tzinfo=timezone.utc)


@dataclass
class Run:
    dag_id: str
    run_id: str
    #: minutes after noon at which it was asked for
    asked: int
    plan: str | None = "running"
    follow: str | None = None
    state: str = "running"
    conf: dict[str, Any] = field(default_factory=dict)

    @property
    def run_after(self) -> datetime:
        return NOON + timedelta(minutes=self.asked)


@dataclass
class Airflow:
    runs: list[Run] = field(default_factory=list)
    paused: set[str] = field(default_factory=set)

    def add(self, run: Run) -> Run:
        self.runs.append(run)
        return run

    # --- what a task may ask -------------------------------------------------------------------------------

    def get_dr_count(self, dag_id: str, run_ids: Any = None, states: Any = None) -> int:
        found = [run for run in self.runs if run.dag_id == dag_id and (not states or run.state in states)]
        return len([run for run in found if run_ids is None or run.run_id in run_ids])

    def get_task_states(
        self, dag_id: str, task_ids: list[str], run_ids: Any = None
    ) -> dict[str, dict[str, Any]]:
        chosen = [run for run in self.runs if run.dag_id == dag_id]
        return {
            run.run_id: {"plan": run.plan, "follow": run.follow}
            for run in chosen
            if run_ids is None or run.run_id in run_ids
        }

    def get_dag(self, dag_id: str) -> Any:
        return SimpleNamespace(is_paused=dag_id in self.paused)

    def send(self, message: Any) -> Any:
        return next(run for run in self.runs if (run.dag_id, run.run_id) == (message.dag_id, message.run_id))


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    from airflow.sdk.execution_time import task_runner

    fake = Airflow()
    for name in ("get_dr_count", "get_task_states", "get_dag"):
        monkeypatch.setattr(task_runner.RuntimeTaskInstance, name, staticmethod(getattr(fake, name)))
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", fake, raising=False)
    return fake


def wait(run: Run, direction: str = "upgrade", **params: Any) -> Any:
    """Return what the run waits for, as the trigger that it is deferred with; None where it may plan."""
    from airflow.sdk import BaseOperator
    from airflow.sdk.exceptions import TaskDeferred

    from lockstep.orchestration.logs import TaskLog
    from lockstep.orchestration.turns import wait_turn

    pushed: dict[str, Any] = {}
    desk: Any = SimpleNamespace(
        context={"dag_run": run},
        params={"target": "head", **params},
        log=TaskLog(),
        task=BaseOperator(task_id="plan"),
        ti=SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value})),
    )
    try:
        wait_turn(desk, direction)  # type: ignore[arg-type]
    except TaskDeferred as found:
        deferred = found
    else:
        return None
    assert deferred.method_name == "go_on"
    assert pushed["waits_for"]
    return deferred.trigger


def test_the_first_plans_and_the_later_ones_wait_for_it(airflow: Airflow) -> None:
    first = airflow.add(Run("migrate", "deploy-1", 0))
    second = airflow.add(Run("migrate", "deploy-2", 1))
    third = airflow.add(Run("rollback", "by-hand", 2, plan="scheduled"))

    assert wait(second).waited == [["migrate", "deploy-1", True]]
    second.plan, third.plan = "deferred", "running"
    assert [one[1] for one in wait(third, "downgrade", target="0001").waited] == ["deploy-1", "deploy-2"]
    third.plan = "deferred"
    assert wait(first) is None

    first.plan, first.follow, first.state = "success", "success", "success"
    second.plan = "running"
    assert wait(second) is None


def test_who_was_asked_for_first_steps_behind_one_that_has_planned(airflow: Airflow) -> None:
    late = airflow.add(Run("migrate", "queued-for-long", 0))
    quick = airflow.add(Run("migrate", "quick", 1, plan="success", follow="deferred"))

    trigger = wait(late)
    assert trigger.free() is None

    quick.plan, quick.follow = None, None  # somebody cleared it: it has to ask again
    assert trigger.free()


def test_what_moves_nothing_is_not_waited_for(airflow: Airflow) -> None:
    mine = airflow.add(Run("migrate", "mine", 9))
    airflow.add(Run("migrate", "ended", 0, plan="success", follow="success", state="success"))
    airflow.add(Run("migrate", "refused", 0, plan="failed", follow="upstream_failed", state="failed"))
    airflow.add(Run("migrate", "queued", 0, plan=None, state="queued"))
    airflow.add(Run("migrate", "a-plan", 0, plan="running", conf={"dry_run": True}))
    airflow.add(Run("rollback", "elsewhere", 0, plan="success", conf={"environment": "elsewhere"}))
    airflow.add(Run("rollback", "held", 0, plan=None))
    airflow.paused.add("rollback")
    assert wait(mine) is None

    airflow.paused.clear()
    assert wait(mine).waited == [["rollback", "held", True]]
    assert wait(mine, dry_run=True) is None


def test_a_step_back_is_refused_where_it_would_be_another_step(airflow: Airflow) -> None:
    airflow.add(Run("migrate", "deploy-1", 0, plan="success", follow="deferred"))
    mine = airflow.add(Run("rollback", "by-hand", 1))

    with pytest.raises(Refused, match="one step back would be another step"):
        wait(mine, "downgrade", target="previous")
    assert wait(mine, "downgrade", target="0001") is not None


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (0, 0, 0)])
def test_at_most_one_passes_and_in_the_end_all_do(airflow: Airflow, order: tuple[int, ...]) -> None:
    names = ("a", "b", "c")
    for plans in product((None, "deferred", "running", "success"), repeat=3):
        airflow.runs = [
            Run("migrate", name, asked, plan=plan)
            for name, asked, plan in zip(names, order, plans, strict=True)
        ]
        deciding = [run for run in airflow.runs if run.plan == "running"]
        passed = [run for run in deciding if wait(run) is None]
        moving = [run for run in airflow.runs if run.plan == "success"]
        assert len(passed) + (1 if moving else 0) <= 1, plans

        for run in deciding:  # they cannot have got here together, but one by one
            run.plan = "deferred"
        for _ in range(10):
            for run in airflow.runs:
                if run.plan != "success" and run.state == "running":
                    run.plan = "running"
                    run.plan = "deferred" if wait(run) else "success"
            moving = [run for run in airflow.runs if run.plan == "success" and run.state == "running"]
            assert len(moving) <= max(1, plans.count("success")), plans
            for run in moving:
                run.follow = run.state = "success"
        assert {run.state for run in airflow.runs} == {"success"}, plans
