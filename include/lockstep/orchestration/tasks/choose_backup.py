"""Find out which backup is to be put back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.domain.errors import Refused
from lockstep.orchestration.shape import EMIT, OPEN_RUN, OUTCOME, RECORD
from lockstep.orchestration.tasks.asking_base import AskingTask
from lockstep.orchestration.tasks.base import Desk
from lockstep.orchestration.tasks.dry import end_dry, is_dry
from lockstep.orchestration.tasks.restore_names import APPROVE, BACK_UP, PLAN, PUT_BACK

if TYPE_CHECKING:
    from lockstep.orchestration.asking import Answer

#: choices that a person is shown
SHOWN = 20
#: the tasks after this one
REST = (PLAN, APPROVE, OPEN_RUN, BACK_UP, PUT_BACK, RECORD, EMIT, OUTCOME)


class ChooseBackup(AskingTask):
    """Take the backup that the form names, or wait until a person has chosen one."""

    operator_extra_links = ()

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.restoring import choosing
        from lockstep.orchestration.asking import awaiting
        from lockstep.orchestration.params import refuse_bad
        from lockstep.orchestration.restore_params import into_from, restore_params

        refuse_bad(desk.context["dag_run"].conf, restore_params(), desk.params)
        into_from(desk.params)
        named = str(desk.params.get("backup") or "").strip()
        if is_dry(desk):
            raise end_dry(desk, {"plan": _told(desk, named)}, REST)
        if named:
            return {"backup": named}
        choices = choosing.restorable(desk.services)
        if not choices:
            raise Refused("there is no backup yet: the ledger lists none whose files are still in the vault.")
        raise awaiting(
            desk,
            subject="Which backup is to be put back?",
            body=_body(len(choices)),
            choices=[choice.words for choice in choices[:SHOWN]],
        )

    def said(self, desk: Desk, answer: Answer, kept: Mapping[str, Any]) -> Any:
        backup = answer.choice.split(" ", 1)[0]
        desk.log.info(f"{answer.by} chose the backup of run {backup}", backup=backup)
        at = answer.at.isoformat() if answer.at else None
        return {"backup": backup, "chosen_by": answer.by, "chosen_at": at}

    def where(self, desk: Desk) -> str:
        return "choosing a backup"

    def after_failure(self, desk: Desk) -> str:
        return "nothing was changed. Trigger the DAG again."


def _told(desk: Desk, named: str) -> list[str]:
    """Say what a restore of the backup would do, or which backups there are; into the log too."""
    from lockstep.engine.restoring import choosing
    from lockstep.orchestration.tasks.plan_restore import plan_of

    if named:
        plan = plan_of(desk, named)
        lines = [*plan.words, *(f"AGAINST IT: {problem}" for problem in plan.problems)]
    else:
        lines = ["no backup is named, so a person would be asked which of these:"]
        lines += [choice.words for choice in choosing.restorable(desk.services)[:SHOWN]]
    for line in lines:
        desk.log.info(line)
    return lines


def _body(count: int) -> str:
    more = f" The latest {SHOWN} of {count} are listed." if count > SHOWN else ""
    return (
        f"Each was taken by the run that it is named after, before that run changed anything.{more} The page of backups "
        "shows all of them. Nothing happens before the next task has shown what would be overwritten."
    )
