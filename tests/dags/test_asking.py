"""A run that asks a person: parked until it is answered, then it goes on as they chose."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_engine import ScriptedEngine
from test_states import BROKEN, SHARD, WAY_DOWN, Ended, run

from lockstep.domain.errors import DataError
from lockstep.domain.status import RunStatus


class Person:
    """Answers each question that waits, as Airflow's own page would, whenever `dag.test()` waits."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

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


@pytest.fixture
def answering(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Person]:
    def choose(*answers: str) -> Person:
        person = Person(*answers)
        monkeypatch.setattr(time, "sleep", person)
        return person

    return choose


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
