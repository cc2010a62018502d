"""Ask a person what follows a failed upgrade, where the run is to ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.domain.errors import Refused
from lockstep.orchestration.links import BACKUP_LINKS
from lockstep.orchestration.tasks.asking_base import AskingTask
from lockstep.orchestration.tasks.base import Desk

if TYPE_CHECKING:
    from lockstep.orchestration.asking import Answer


class Ask(AskingTask):
    """Wait for a choice after a failure; where nobody is to be asked, there is nothing to it."""

    operator_extra_links = BACKUP_LINKS

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls
        from lockstep.orchestration.asking import awaiting

        try:
            run = desk.run
        except Refused:
            if desk.was_opened():
                raise
            return None
        question = calls.question_after_upgrade(desk.services, desk.revision, run)
        if question is None:
            desk.log.info("nobody is to be asked", run=run.id)
            return None
        raise awaiting(desk, subject=question.subject, body=question.body, choices=question.choices)

    def said(self, desk: Desk, answer: Answer, kept: Mapping[str, Any]) -> Any:
        from lockstep.orchestration import calls
        from lockstep.orchestration.asking import start_over

        calls.choose(
            desk.services, desk.revision, desk.run, "upgrade", answer.choice, by=answer.by, at=answer.at
        )
        desk.log.info(f"{answer.by} chose {answer.choice!r}")
        if answer.choice == "retry":
            raise start_over(desk)
        return {"chosen": answer.choice, "by": answer.by}

    def where(self, desk: Desk) -> str:
        return "asking what follows the failure"

    def after_failure(self, desk: Desk) -> str:
        return "nothing was chosen, so everything stays as it is. Clear this task and those after it to be asked again."
