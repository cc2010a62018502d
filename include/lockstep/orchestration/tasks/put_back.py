"""Put the run's backups back, where that was chosen or nothing else helped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from lockstep.domain.errors import LockstepError, Refused
from lockstep.orchestration.links import BACKUP_LINKS
from lockstep.orchestration.tasks.asking_base import AskingTask
from lockstep.orchestration.tasks.base import Desk

if TYPE_CHECKING:
    from lockstep.orchestration.asking import Answer


class PutBack(AskingTask):
    """Make everything what it was when it was backed up; what follows a failed way back is decided here."""

    operator_extra_links = BACKUP_LINKS

    def work(self, desk: Desk) -> Any:
        try:
            desk.run  # noqa: B018 - known from here on
        except Refused:
            if desk.was_opened():
                raise
            raise AirflowSkipException("the run was not opened: there is nothing to put back") from None
        self.ask(desk)
        return self.go(desk)

    def said(self, desk: Desk, answer: Answer, kept: Mapping[str, Any]) -> Any:
        from lockstep.orchestration import calls
        from lockstep.orchestration.asking import start_over

        calls.choose(
            desk.services, desk.revision, desk.run, "way_back", answer.choice, by=answer.by, at=answer.at
        )
        desk.log.info(f"{answer.by} chose {answer.choice!r}")
        putting_back = desk.services.ledger.run(desk.run.id).facts.get("putting_back")
        if answer.choice == "retry" and not putting_back:
            raise start_over(desk)
        if answer.choice == "leave":
            raise AirflowSkipException(f"{answer.by} chose to leave everything as it is")
        return self.go(desk)

    def go(self, desk: Desk) -> Any:
        """Put the backups back, or say why not; where that fails, ask once more if the run is to ask."""
        from lockstep.orchestration import calls

        way = calls.way_after_way_back(desk.services, desk.revision, desk.run)
        if way == "none":
            raise AirflowSkipException("there is nothing to put back")
        if way == "leave":
            raise AirflowSkipException(
                "the way back failed, and everything is to stay as it is until a person decides"
            )
        desk.doing = "putting the backups of this run back"
        try:
            return calls.put_back(desk.services, desk.revision, desk.run)
        except LockstepError as problem:
            if problem.transient:
                raise
            calls.note_failure(desk.services, desk.run.id, desk.doing, problem)
            self.ask(desk, tried=True)
            raise

    def ask(self, desk: Desk, *, tried: bool = False) -> None:
        """Wait for a choice, where the way back failed and somebody is to be asked."""
        from lockstep.orchestration import calls
        from lockstep.orchestration.asking import awaiting

        question = calls.question_after_way_back(desk.services, desk.revision, desk.run, tried=tried)
        if question is not None:
            raise awaiting(desk, subject=question.subject, body=question.body, choices=question.choices)

    def where(self, desk: Desk) -> str:
        return desk.doing

    def after_failure(self, desk: Desk) -> str:
        return (
            "the run ends as failed and blocks every later one. Mend the cause, then clear this task, or trigger the "
            "DAG with resume = true: it goes on putting the backups back."
        )
