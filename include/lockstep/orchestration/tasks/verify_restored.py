"""Compare the data with what it was before."""

from __future__ import annotations

from typing import Any

from lockstep.orchestration.links import BACKUP_LINKS
from lockstep.orchestration.tasks.base import Desk, LockstepTask


class VerifyRestored(LockstepTask):
    """See whether everything is taken back, once every task of the way down has stopped."""

    operator_extra_links = BACKUP_LINKS

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        run = desk.run
        states = desk.states(desk.shape.downgrade_tasks)
        calls.settle(desk.services, desk.revision, run, desk.phase, states)
        return calls.verify_restored(desk.services, desk.revision, run)

    def where(self, desk: Desk) -> str:
        return "comparing the data with what it was before"

    def after_failure(self, desk: Desk) -> str:
        return (
            "the run ends as failed and blocks every later one. Look at what differs, then clear the failed "
            "tasks, or restore from the backup named above (docs/restore-by-hand.md)."
        )
