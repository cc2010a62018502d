"""Find the way to the target, when the run starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.orchestration.tasks.approve_route import APPROVE_TASK, PLANNED
from lockstep.orchestration.tasks.base import Desk, LockstepTask
from lockstep.orchestration.tasks.dry import end_dry, is_dry
from lockstep.orchestration.tasks.follow import FOLLOW

if TYPE_CHECKING:
    from lockstep.domain.plan import Plan
    from lockstep.domain.revision import Direction


class PlanRoute(LockstepTask):
    """List the revisions to move, in order; refuse, with the reason, where that cannot be done.

    All that is known of them before they run is in the log, and under the key `plan`; a dry run ends with it.
    """

    operator_extra_links = ()
    direction: Direction

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls
        from lockstep.orchestration.children import refuse_paused
        from lockstep.orchestration.params import refuse_bad, route_params
        from lockstep.orchestration.turns import wait_turn

        refuse_bad(desk.context["dag_run"].conf, route_params("", "", self.direction), desk.params)
        wait_turn(desk, self.direction)
        target = str(desk.params["target"])
        hops = calls.plan_route(desk.services, desk.chain, target=target, direction=self.direction)
        plan = calls.planned(
            desk.services,
            desk.chain,
            hops,
            target=target,
            direction=self.direction,
            pages=self.pages,
        )
        show(desk, plan)
        if is_dry(desk):
            raise end_dry(desk, plan.as_json(), (APPROVE_TASK, FOLLOW))
        calls.refuse_plan(desk.services, plan)
        if self.direction == "downgrade":
            calls.check_way_down(desk.services, desk.chain, [hop.revision_id for hop in hops], desk.params)
        for number, hop in enumerate(hops, 1):
            refuse_paused(hop.dag_id)
            desk.log.info(f"{number} of {len(hops)}: {hop.direction} {hop.revision_id}", dag=hop.dag_id)
        desk.ti.xcom_push(key=PLANNED, value=plan.as_json())
        return [
            {"revision": hop.revision_id, "dag_id": hop.dag_id, "direction": hop.direction} for hop in hops
        ]

    def where(self, desk: Desk) -> str:
        return f"planning the way to {desk.params.get('target')!r}"

    def after_failure(self, desk: Desk) -> str:
        return "no revision was started. Do what the error says, then trigger the DAG again."


def show(desk: Desk, plan: Plan) -> None:
    """Write a plan into the log, a group a revision, and what speaks against it for all to see."""
    from lockstep.domain.plan import State

    if not plan.revisions:
        desk.log.info(f"nothing to do: the chain is at {plan.target!r} already")
    for one in plan.revisions:
        first, *rest = one.lines()
        with desk.log.group(first):
            for line in rest:
                desk.log.info(line)
    well = [check for check in plan.checks if check.state is State.OK]
    with desk.log.group(f"checks before the start: {len(well)} of {len(plan.checks)} found nothing"):
        for check in well:
            desk.log.info(str(check))
    for check in plan.checks:
        if check.state is not State.OK:
            desk.log.warning(str(check))
