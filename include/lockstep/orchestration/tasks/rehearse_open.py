"""Begin a rehearsal."""

from __future__ import annotations

from typing import Any

from lockstep.domain.rehearsal import FRESH
from lockstep.orchestration.tasks.base import Desk
from lockstep.orchestration.tasks.rehearse_base import NOTHING, RehearsalTask


class OpenRehearsal(RehearsalTask):
    """Say what is tried, on what, and tell those who wait that it goes on; return the databases to back up."""

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.announcing import announce
        from lockstep.engine.rehearsing.opening import open_rehearsal
        from lockstep.orchestration.callers import caller_of
        from lockstep.orchestration.links import report_url
        from lockstep.orchestration.params import refuse_bad
        from lockstep.orchestration.rehearse_params import asked_from, rehearse_params

        refuse_bad(desk.context["dag_run"].conf, rehearse_params(), desk.params)
        plan = open_rehearsal(
            desk.services,
            desk.chain,
            target=str(desk.params["target"]),
            asked=asked_from(desk.params),
            caller=caller_of(desk.context),
            params=desk.params,
        )
        count = len(plan.revisions)
        announce(
            desk.services,
            plan.rehearsal,
            "pending",
            url=report_url(plan.rehearsal.id, self.pages),
            text=f"Rehearsing {count} revision{'' if count == 1 else 's'} on a copy",
        )
        if plan.asked.source != FRESH:
            return [NOTHING]
        return [one.label for one in plan.wanted]

    def where(self, desk: Desk) -> str:
        return f"beginning a rehearsal to {desk.params.get('target')!r}"
