"""A run that asks a person: parked until it is answered, then it goes on as they chose."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_engine import ScriptedEngine
from test_states import BROKEN, SHARD, WAY_DOWN, Ended, run

from lockstep.domain.errors import DataError
from lockstep.domain.status import RunStatus


class Person:
    """Answers each question that waits, as Airflow's own page would, whenever `dag.test()` waits.

    lost: how many answers come so early that the scheduler takes their task for lost. woken: how often a task is woken
    before there is an answer.
    """

    def __init__(self, *answers: str, lost: int = 0, woken: int = 0) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.lost = lost
        self.woken = woken
        self.parked: list[timedelta] = []

    def __call__(self, seconds: float) -> None:
        from airflow.models.hitl import HITLDetail
        from airflow.models.taskinstance import TaskInstance
        from airflow.models.trigger import handle_event_submit
        from airflow.sdk.timezone import utcnow
        from airflow.triggers.base import TriggerEvent
        from airflow.utils.session import create_session
        from airflow.utils.state import TaskInstanceState

        with create_session() as session:
            waiting = session.query(TaskInstance).filter_by(state=TaskInstanceState.AWAITING_INPUT).all()
            for instance in waiting:
                self.parked.append(instance.trigger_timeout - utcnow())
                if self.woken:
                    self.woken -= 1
                    event = TriggerEvent({"error": "nobody answered", "error_type": "timeout"})
                    handle_event_submit(event, task_instance=instance, session=session)
                    continue
                detail = session.query(HITLDetail).filter_by(ti_id=instance.id).one()
                self.asked.append(
                    {"task": instance.task_id, "subject": detail.subject, "options": list(detail.options)}
                )
                detail.chosen_options = [self.answers.pop(0)]
                detail.responded_by = {"id": "paul", "name": "Paul"}
                detail.responded_at = utcnow()
                session.add(detail)
                event = TriggerEvent(detail.as_resume_event_payload())
                handle_event_submit(event, task_instance=instance, session=session)
                if self.lost:
                    self.lost -= 1
                    instance.state = TaskInstanceState.RUNNING
                    instance.handle_failure(error="finished with state success", session=session)


@pytest.fixture
def answering(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Person]:
    def choose(*answers: str, **given: int) -> Person:
        person = Person(*answers, **given)
        monkeypatch.setattr(time, "sleep", person)
        return person

    return choose


@pytest.fixture
def triggerer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a trigger of `dag.test()` read an answer, as the triggerer can; and ask at once."""
    from airflow.models.hitl import HITLDetail
    from airflow.sdk.execution_time import hitl
    from airflow.utils.session import create_session

    from lockstep.orchestration.asking import Looked

    def read(ti_id: Any) -> Any:
        with create_session() as session:
            found = session.query(HITLDetail).filter_by(ti_id=ti_id).one()
            by = SimpleNamespace(**found.responded_by) if found.responded_by else None
            return SimpleNamespace(
                response_received=found.response_received,
                chosen_options=found.chosen_options,
                responded_at=found.responded_at,
                responded_by_user=by,
            )

    monkeypatch.setattr(hitl, "get_hitl_detail_content_detail", read)
    monkeypatch.setattr(Looked.__init__, "__defaults__", (0.01,))


def status(engine: ScriptedEngine) -> RunStatus:
    (kept,) = engine.runs.values()
    return kept.status


def asked(ended: Ended) -> str:
    return ended.one("downgrade.ask")


@pytest.mark.parametrize(
    ("choice", "taken_back", "put_back", "end"),
    [
        ("downgrade", {"success"}, "skipped", RunStatus.ROLLED_BACK),
        ("restore", {"skipped"}, "success", RunStatus.ROLLED_BACK),
        ("leave", {"skipped"}, "skipped", RunStatus.FAILED),
    ],
)
def test_a_failed_upgrade_goes_on_as_the_person_chose(
    home_project: Path,
    engine: ScriptedEngine,
    answering: Callable[..., Person],
    choice: str,
    taken_back: set[str],
    put_back: str,
    end: RunStatus,
) -> None:
    engine.fails[SHARD] = BROKEN
    person = answering(choice)

    ended = run(home_project, on_failure="ask")

    assert person.asked == [
        {
            "task": "downgrade.ask",
            "subject": "What next?",
            "options": ["retry", "downgrade", "restore", "leave"],
        }
    ]
    assert engine.chosen == [("upgrade", choice, "Paul")]
    assert asked(ended) == "success"
    assert ended.all(*WAY_DOWN) == taken_back
    assert ended.one("put_back") == put_back
    assert ended.state == "failed"
    assert status(engine) is end


def test_an_answer_holds_whose_task_airflow_takes_for_lost(
    home_project: Path, engine: ScriptedEngine, answering: Callable[..., Person], triggerer: None
) -> None:
    engine.fails[SHARD] = BROKEN
    person = answering("downgrade", lost=1)

    ended = run(home_project, on_failure="ask")

    assert person.lost == 0
    assert [one["task"] for one in person.asked] == ["downgrade.ask"]
    assert engine.chosen == [("upgrade", "downgrade", "Paul")]
    assert ended.all(*WAY_DOWN) == {"success"}
    assert status(engine) is RunStatus.ROLLED_BACK


def test_a_task_that_is_woken_without_an_answer_goes_on_waiting(
    home_project: Path, engine: ScriptedEngine, answering: Callable[..., Person]
) -> None:
    engine.fails[SHARD] = BROKEN
    person = answering("leave", woken=2)

    ended = run(home_project, on_failure="ask")

    assert [round(wait / timedelta(seconds=20)) for wait in person.parked] == [1, 4320, 4320]
    assert engine.chosen == [("upgrade", "leave", "Paul")]
    assert asked(ended) == "success"


def test_nobody_is_asked_where_nothing_failed(
    home_project: Path, engine: ScriptedEngine, answering: Callable[..., Person]
) -> None:
    person = answering()

    ended = run(home_project, on_failure="ask", on_undo_failure="ask")

    assert ended.state == "success"
    assert person.asked == []
    assert asked(ended) == "skipped"


@pytest.mark.parametrize(("choice", "put_back"), [("restore", "success"), ("leave", "skipped")])
def test_a_failed_way_back_is_asked_about_where_its_policy_says_so(
    home_project: Path,
    engine: ScriptedEngine,
    answering: Callable[..., Person],
    choice: str,
    put_back: str,
) -> None:
    engine.fails[SHARD] = BROKEN
    engine.fails["shard", "undo", 3, 0] = BROKEN
    person = answering(choice)

    ended = run(home_project, on_undo_failure="ask")

    assert [one["task"] for one in person.asked] == ["put_back"]
    assert ended.one("put_back") == put_back
    assert ended.all("record", "emit") == {"success"}
    assert status(engine) is (RunStatus.ROLLED_BACK if choice == "restore" else RunStatus.FAILED)


def test_a_restore_that_fails_is_tried_again_by_choice_in_the_same_task(
    home_project: Path, engine: ScriptedEngine, answering: Callable[..., Person]
) -> None:
    engine.fails[SHARD] = BROKEN
    engine.fails["put_back",] = DataError("the backup is not what it was")
    person = answering("restore", "retry")
    choose = engine.choose

    def mended(*given: Any, **more: Any) -> bool:
        if given[4] == "retry":
            del engine.fails["put_back",]
        return choose(*given, **more)

    engine.choose = mended  # type: ignore[method-assign]

    ended = run(home_project, on_failure="ask", on_undo_failure="ask")

    assert [one["task"] for one in person.asked] == ["downgrade.ask", "put_back"]
    assert ended.one("put_back") == "success"
    assert status(engine) is RunStatus.ROLLED_BACK
