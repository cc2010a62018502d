"""Ask the ledger whether the revision may move now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from lockstep.domain.status import RunStatus
from lockstep.orchestration.links import ALL_LINKS
from lockstep.orchestration.shape import OUTCOME
from lockstep.orchestration.tasks.approve_route import asking, said
from lockstep.orchestration.tasks.asking_base import AskingTask
from lockstep.orchestration.tasks.base import Desk, skipping
from lockstep.orchestration.tasks.dry import end_dry, is_dry
from lockstep.orchestration.tasks.plan_route import show

if TYPE_CHECKING:
    from lockstep.domain.plan import PlannedRevision
    from lockstep.orchestration.asking import Answer


class OpenRun(AskingTask):
    """Open the run, once a person has allowed it where they must; skip to the outcome where there is nothing to do."""

    operator_extra_links = ALL_LINKS

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls
        from lockstep.orchestration.params import refuse_bad, revision_params

        refuse_bad(desk.context["dag_run"].conf, revision_params(), desk.params)
        revision = desk.chain[desk.revision.id]
        if is_dry(desk):
            self.tell(desk)
        if desk.params["direction"] == "downgrade":
            calls.check_way_down(desk.services, desk.chain, [revision.id], desk.params)
        wanted = self.wanted(desk)
        if wanted is not None and wanted != "busy":
            # Before anything is opened: while a person thinks, the chain is free.
            raise asking(desk, desk.services.environment.name, [wanted.as_json()])
        return self.open(desk, may_begin=wanted is None)

    def said(self, desk: Desk, answer: Answer, kept: Mapping[str, Any]) -> Any:
        """Keep the answer; then see once more that what was approved is what would run, and open it."""
        said(desk, answer, kept["marks"])
        wanted = self.wanted(desk)
        if wanted is not None and wanted != "busy":
            raise asking(desk, desk.services.environment.name, [wanted.as_json()])
        return self.open(desk, may_begin=wanted is None)

    def tell(self, desk: Desk) -> None:
        """Say what the run would do, and leave everything else out."""
        from lockstep.orchestration import calls

        plan = calls.one_step(
            desk.services, desk.chain, desk.chain[desk.revision.id], desk.params["direction"], self.pages
        )
        show(desk, plan)
        raise end_dry(desk, plan.as_json(), (*desk.shape.all_but_outcome, OUTCOME))

    def wanted(self, desk: Desk) -> PlannedRevision | Literal["busy"] | None:
        """Return what a person has to be asked about first, if anything."""
        from lockstep.orchestration import calls
        from lockstep.orchestration.callers import caller_of

        return calls.approval_wanted(
            desk.services,
            desk.chain,
            desk.chain[desk.revision.id],
            desk.params["direction"],
            caller_of(desk.context),
            redrive=bool(desk.params.get("redrive")),
            pages=self.pages,
        )

    def open(self, desk: Desk, *, may_begin: bool) -> Any:
        """Open the run, or say that nothing is left to do."""
        from lockstep.orchestration import calls
        from lockstep.orchestration.callers import alive, caller_of

        revision = desk.chain[desk.revision.id]
        run = calls.open_run(
            desk.services,
            desk.chain,
            revision,
            direction=desk.params["direction"],
            caller=caller_of(desk.context),
            params=desk.params,
            alive=alive,
            may_begin=may_begin,
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
