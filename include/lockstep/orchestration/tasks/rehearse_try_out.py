"""Try the revisions on copies."""

from __future__ import annotations

from typing import Any

from lockstep.orchestration.tasks.base import Desk
from lockstep.orchestration.tasks.rehearse_base import RehearsalTask, Rehearsing


class TryOut(RehearsalTask):
    """Load the copies, go up, down and up again, and write the report of it.

    A try that was killed starts over, on scratch spaces of its own: what half a plan did to a copy says nothing.
    """

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.rehearsing.ending import write_report
        from lockstep.engine.rehearsing.trying import try_out

        this = Rehearsing(desk)
        measured = try_out(
            desk.services,
            this.backstage,
            desk.chain,
            this.plan,
            this.folder,
            attempt=int(desk.ti.try_number),
        )
        report = write_report(desk.services, this.backstage, this.plan, measured)
        return {"verdict": report["verdict"], "why": report["why"], "seconds": report["seconds"]}

    def where(self, desk: Desk) -> str:
        return "trying the revisions on copies"

    def after_failure(self, desk: Desk) -> str:
        return (
            "nothing is said of the revisions: the rehearsal ends as stopped, and its scratch spaces are dropped. Mend "
            "the cause, then trigger the DAG rehearse again."
        )
