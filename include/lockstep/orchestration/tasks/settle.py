"""Wait until every step has stopped, whatever its end, then say what was done."""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import Refused
from lockstep.orchestration.shape import EMIT, RECORD, VERIFY
from lockstep.orchestration.tasks.base import Desk, LockstepTask, skipping


class Settle(LockstepTask):
    """See whether the upgrade is done. It starts when all of its tasks have stopped, so nothing writes now."""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        try:
            run = desk.run
        except Refused as refusal:
            if desk.was_opened():
                raise
            desk.log.info(f"the run was not opened, so nothing follows: {refusal}")
            raise skipping((VERIFY, *desk.shape.downgrade_branch, RECORD, EMIT)) from None
        states = desk.states(desk.shape.upgrade_tasks)
        if run.direction == "downgrade":
            desk.log.info("this run goes down: of the upgrade nothing was started")
            raise skipping((VERIFY,))
        if not run.backed_up:
            desk.log.info(
                "no step was started, since the backups were not proven: nothing is to be taken back"
            )
            raise skipping((VERIFY, *desk.shape.downgrade_branch))
        return calls.settle(desk.services, desk.revision, run, "upgrade", states)

    def where(self, desk: Desk) -> str:
        return "looking at what the upgrade did"

    def after_failure(self, desk: Desk) -> str:
        return "downgrade.decide looks at what there is to take back."
