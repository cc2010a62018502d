"""Compare the data with what the revision promises."""

from __future__ import annotations

from typing import Any

from lockstep.orchestration.tasks.base import Desk, LockstepTask, skipping
from lockstep.orchestration.tasks.steps import AFTER_UPGRADE


class Verify(LockstepTask):
    """Read the data again and check each expectation."""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        facts = calls.verify(desk.services, desk.revision, desk.run)
        desk.log.info("the revision keeps its promises: nothing is to be taken back", **facts)
        # Left out here and not by a decision: a run that went well has one task less to wait for.
        raise skipping(desk.shape.downgrade_branch)

    def where(self, desk: Desk) -> str:
        return f"verifying what revision {desk.revision.id} promises"

    def after_failure(self, desk: Desk) -> str:
        return AFTER_UPGRADE.get(str(desk.params.get("on_failure")), AFTER_UPGRADE["downgrade"])
