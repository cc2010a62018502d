"""What a person is asked before a restore, and what their answer leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from lockstep.domain.errors import Refused

AT = datetime(2026, 1, 2, tzinfo=timezone.utc)


@dataclass
class Noted:
    """A ledger that keeps what is noted."""

    notes: list[Any] = field(default_factory=list)

    def unit(self) -> Noted:
        return self

    def __enter__(self) -> Noted:
        return self

    def __exit__(self, *problem: Any) -> None:
        return None

    def note(self, run_id: str | None, kind: str, detail: Any, *, who: str | None = None) -> None:
        self.notes.append((run_id, kind, detail, who))

    def history(self) -> list[dict[str, Any]]:
        return [{"kind": kind, "detail": detail} for _, kind, detail, _ in self.notes]


def desk(params: dict[str, Any], pulled: dict[str, Any] | None = None) -> Any:
    known = pulled or {}
    return SimpleNamespace(
        params=params,
        context={"dag_run": SimpleNamespace(conf={})},
        services=SimpleNamespace(ledger=Noted()),
        log=SimpleNamespace(info=lambda event, **fields: None),
        ti=SimpleNamespace(
            dag_id="restore",
            run_id="r",
            xcom_pull=lambda task_ids, map_indexes=None, key=None: known.get(task_ids),
        ),
    )


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Collect what is asked instead of asking it."""
    from lockstep.orchestration import asking

    asked: list[dict[str, Any]] = []

    class Parked(BaseException):
        pass

    def awaiting(desk: Any, **question: Any) -> BaseException:
        asked.append(question)
        return Parked()

    monkeypatch.setattr(asking, "awaiting", awaiting)
    monkeypatch.setattr(asking, "Parked", Parked, raising=False)
    return asked


def asks(task: Any, at: Any) -> None:
    from lockstep.orchestration import asking

    with pytest.raises(asking.Parked):  # type: ignore[attr-defined]
        task.work(at)


def answer(choice: str) -> Any:
    from lockstep.orchestration.asking import Answer

    return Answer(choice=choice, by="grace", at=AT)


def test_a_person_chooses_among_the_latest_backups(
    monkeypatch: pytest.MonkeyPatch, questions: list[dict[str, Any]]
) -> None:
    from lockstep.engine.restoring import choosing
    from lockstep.orchestration.tasks.choose_backup import ChooseBackup

    choices = [SimpleNamespace(words=f"run-{number} · before the upgrade") for number in range(30)]
    monkeypatch.setattr(choosing, "restorable", lambda services: choices)
    task, at = ChooseBackup(task_id="choose"), desk({"backup": " ", "into": ""})

    asks(task, at)

    (question,) = questions
    assert question["choices"] == [f"run-{number} · before the upgrade" for number in range(20)]
    assert "The latest 20 of 30 are listed" in question["body"]
    assert task.said(at, answer("run-7 · before the upgrade"), {}) == {
        "backup": "run-7",
        "chosen_by": "grace",
        "chosen_at": AT.isoformat(),
    }


def test_without_any_backup_there_is_nothing_to_choose(
    monkeypatch: pytest.MonkeyPatch, questions: list[dict[str, Any]]
) -> None:
    from lockstep.engine.restoring import choosing
    from lockstep.orchestration.tasks.choose_backup import ChooseBackup

    monkeypatch.setattr(choosing, "restorable", lambda services: [])

    with pytest.raises(Refused, match="there is no backup yet"):
        ChooseBackup(task_id="choose").work(desk({"backup": "", "into": ""}))
    assert questions == []


@pytest.mark.parametrize(
    ("policy", "empty", "asked"),
    [
        ("auto", False, True),
        ("auto", True, False),
        ("always", True, True),
        ("always", False, True),
        ("never", False, False),
    ],
)
def test_a_person_is_asked_as_the_form_says(
    questions: list[dict[str, Any]], policy: str, empty: bool, asked: bool
) -> None:
    from lockstep.orchestration.tasks.approve_restore import ApproveRestore

    plan = {"backup": "b", "mark": "m", "words": ["first", "  second"], "records": 5, "empty": empty}
    task, at = ApproveRestore(task_id="approve"), desk({"approve": policy}, {"plan": plan})

    if not asked:
        assert task.work(at) == {"mark": "m"}
        assert questions == []
        return
    asks(task, at)
    (question,) = questions
    assert question["choices"] == ("Approve", "Reject")
    assert "* second" in question["body"]
    assert "5 record(s) are there now" in question["subject"]
    # Airflow shows a task's first question for ever: an answer counts for what was shown.
    assert question["sign"] in question["body"]
    assert question["keep"] == {"mark": question["sign"]} == {"mark": "m"}


def test_an_approval_names_who_and_when() -> None:
    from lockstep.orchestration.tasks.approve_restore import ApproveRestore

    at = desk({}, {"plan": {"backup": "b", "mark": "m"}})

    assert ApproveRestore(task_id="approve").said(at, answer("Approve"), {"mark": "shown"}) == {
        "mark": "shown",
        "approved_by": "grace",
        "approved_at": AT.isoformat(),
    }
    assert at.services.ledger.notes == []


def test_a_rejection_is_noted_in_the_history_and_ends_the_run() -> None:
    from lockstep.orchestration.tasks.approve_restore import ApproveRestore

    at = desk({}, {"plan": {"backup": "b", "mark": "m"}})

    for _ in range(2):
        with pytest.raises(Refused, match=r"grace rejected the restore of run b\. Nothing was changed"):
            ApproveRestore(task_id="approve").said(at, answer("Reject"), {})

    told = {"backup": "b", "at": AT.isoformat(), "dag_run": "restore / r"}
    assert at.services.ledger.notes == [(None, "restore_rejected", told, "grace")]
