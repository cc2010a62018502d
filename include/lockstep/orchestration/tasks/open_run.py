"""Ask the ledger whether the revision may move now."""

from __future__ import annotations

from typing import Any

from lockstep.domain.status import RunStatus
from lockstep.orchestration.links import ALL_LINKS
from lockstep.orchestration.tasks.base import Desk, LockstepTask, skipping


class OpenRun(LockstepTask):
    """Open the run, or skip to the outcome where there is nothing to do."""

    operator_extra_links = ALL_LINKS

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls
        from lockstep.orchestration.callers import alive, caller_of
        from lockstep.orchestration.params import refuse_bad, revision_params

        refuse_bad(desk.context["dag_run"].conf, revision_params(), desk.params)
        revision = desk.chain[desk.revision.id]
        if desk.params["direction"] == "downgrade":
            calls.check_way_down(desk.services, desk.chain, [revision.id], desk.params)
        run = calls.open_run(
            desk.services,
            desk.chain,
            revision,
            direction=desk.params["direction"],
            caller=caller_of(desk.context),
            params=desk.params,
            alive=alive,
        )
        self.ledger_run = run.id
        if run.status is not RunStatus.OPEN:
            desk.log.info(f"run {run.id} is {run.status}: nothing is left to do but to say so")
            raise skipping(desk.shape.all_but_outcome)
        return {"run": run.id, "revision": run.revision, "direction": run.direction}

    def where(self, desk: Desk) -> str:
        return f"opening a run to {desk.params.get('direction', 'move')} the revision of {self.path}"

    def after_failure(self, desk: Desk) -> str:
        return "nothing was changed. Do what the error says, then trigger the DAG again."
