"""Begin a rehearsal."""

from __future__ import annotations

from typing import Any

from lockstep.domain.rehearsal import FRESH
from lockstep.orchestration.tasks.base import Desk
from lockstep.orchestration.tasks.dry import end_dry, is_dry
from lockstep.orchestration.tasks.rehearse_base import (
    ANNOUNCE,
    BACK_UP,
    DROP,
    NOTHING,
    OUTCOME,
    REPORT,
    TRY_OUT,
    RehearsalTask,
)


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
        if is_dry(desk):
            raise end_dry(desk, _told(desk), (BACK_UP, TRY_OUT, REPORT, DROP, ANNOUNCE, OUTCOME))
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


def _told(desk: Desk) -> dict[str, Any]:
    """Return what would be tried, on which copies; into the log too."""
    from lockstep.engine.rehearsing.opening import look_ahead
    from lockstep.orchestration.rehearse_params import asked_from

    asked = asked_from(desk.params)
    revisions, wanted = look_ahead(desk.services, desk.chain, target=str(desk.params["target"]), asked=asked)
    lines = [f"would try {revision.id}: {revision.description}" for revision in revisions]
    copies = [f"would copy of {one.database.conn_id}: {', '.join(map(str, one.resources))}" for one in wanted]
    source = "a backup taken now" if asked.source == FRESH else f"the backup of run {asked.source}"
    lines += [*copies, f"from {source}, {asked.sample:g} % of the records"]
    for line in lines:
        desk.log.info(line)
    return {"plan": lines, "revisions": [revision.id for revision in revisions]}
