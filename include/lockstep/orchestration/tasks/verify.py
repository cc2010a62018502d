"""Compare the data with what the revision promises."""

from __future__ import annotations

from typing import Any

from lockstep.orchestration.tasks.base import Desk, LockstepTask


class Verify(LockstepTask):
    """Read the data again and check each expectation."""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        run = desk.run
        return calls.verify(desk.services, desk.revision, run)

    def where(self, desk: Desk) -> str:
        return f"verifying what revision {desk.revision.id} promises"

    def after_failure(self, desk: Desk) -> str:
        if desk.params.get("on_failure") == "leave":
            return "on_failure is 'leave': nothing is taken back, and later runs are refused until it is settled."
        return "the tasks below downgrade take back what was done."
