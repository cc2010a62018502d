"""Where a policy wants it, a person is asked before anything starts: by migrate once, by a revision's own DAG itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import ScriptedEngine, planned_as, step
from test_asking import Person, answering
from test_states import Ended, run

from lockstep.domain.approval import Standing

__all__ = ["answering"]

Answering = Callable[..., Person]


def migrate(project: Path, **conf: Any) -> Ended:
    from airflow.sdk import timezone

    from lockstep.orchestration.migrate import build_migrate
    from lockstep.orchestration.project import prefer_include

    prefer_include(str(project / "dags" / "migrate.py"))
    dag = build_migrate(project / "migrations")
    return Ended(dag.test(logical_date=timezone.utcnow(), run_conf=conf or None))


@pytest.fixture
def two_steps(engine: ScriptedEngine) -> ScriptedEngine:
    """A plan of three steps, one of which somebody has allowed already."""
    engine.plan = planned_as(step("0001"), step("0002", Standing.APPROVED), step("0003"))
    return engine


def test_the_route_is_planned_approved_and_followed_in_line(project: Path) -> None:
    from lockstep.orchestration.migrate import build_migrate
    from lockstep.orchestration.project import prefer_include
    from lockstep.orchestration.rollback import build_rollback

    prefer_include(str(project / "dags" / "migrate.py"))
    for dag in (build_migrate(project / "migrations"), build_rollback(project / "migrations")):
        assert [task.task_id for task in dag.topological_sort()] == ["plan", "approve", "follow"]
        assert [task.task_id for task in dag.leaves] == ["follow"]


def test_migrate_asks_once_for_all_that_needs_it(
    home_project: Path, two_steps: ScriptedEngine, answering: Answering
) -> None:
    person = answering("Approve")

    ended = migrate(home_project)

    (asked,) = person.asked
    assert asked["task"] == "approve"
    assert asked["subject"] == "May 2 revision(s) move in production? 0001 (upgrade), 0003 (upgrade)"
    assert asked["options"] == ["Approve", "Reject"]
    assert two_steps.answers == [("yes", "Paul", ["0001", "0003"])]
    assert ended.state == "success"
    assert ended.left("approve", "return_value")["by"] == "Paul"


def test_a_no_stops_migrate_before_anything_starts(
    home_project: Path, two_steps: ScriptedEngine, answering: Answering
) -> None:
    answering("Reject")

    ended = migrate(home_project)

    assert two_steps.answers == [("no", "Paul", ["0001", "0003"])]
    assert (ended.one("approve"), ended.one("follow"), ended.state) == ("failed", "upstream_failed", "failed")


def test_nobody_is_asked_where_nothing_needs_it(
    home_project: Path, engine: ScriptedEngine, answering: Answering
) -> None:
    engine.plan = planned_as(step("0001", Standing.NOT_NEEDED), step("0002", Standing.APPROVED))
    person = answering()

    ended = migrate(home_project)

    assert person.asked == []
    assert ended.state == "success"


@pytest.mark.parametrize(("answer", "opened"), [("Approve", True), ("Reject", False)])
def test_a_revision_s_own_dag_asks_before_it_opens_anything(
    home_project: Path, engine: ScriptedEngine, answering: Answering, answer: str, opened: bool
) -> None:
    engine.wanted_approvals = [step("0002")]
    person = answering(answer)

    ended = run(home_project)

    assert [one["task"] for one in person.asked] == ["open_run"]
    assert engine.answers == [("yes" if opened else "no", "Paul", ["0002"])]
    assert (("open_run",) in engine.asked) is opened
    assert ended.state == ("success" if opened else "failed")
    assert ended.one("open_run") == ("success" if opened else "failed")
