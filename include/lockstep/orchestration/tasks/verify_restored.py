"""Compare the data with what it was before."""

from __future__ import annotations

from typing import Any

from lockstep.orchestration.links import BACKUP_LINKS
from lockstep.orchestration.shape import PUT_BACK
from lockstep.orchestration.tasks.base import Desk, LockstepTask, skipping


class VerifyRestored(LockstepTask):
    """See whether everything is taken back, once every task of the way down has stopped."""

    operator_extra_links = BACKUP_LINKS

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        run = desk.run
        states = desk.states(desk.shape.downgrade_tasks)
        calls.settle(desk.services, desk.revision, run, desk.phase, states)
        facts = calls.verify_restored(desk.services, desk.revision, run)
        desk.log.info("it is taken back: there is nothing more to put back", **facts)
        raise skipping((PUT_BACK,))

    def where(self, desk: Desk) -> str:
        return "comparing the data with what it was before"

    def after_failure(self, desk: Desk) -> str:
        return (
            "put_back does what on_undo_failure says. Where that is 'leave', the run ends as failed and blocks every "
            "later one: look at what differs, then clear the failed tasks."
        )
