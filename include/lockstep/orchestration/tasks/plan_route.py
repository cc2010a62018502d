"""Find the way to the target, when the run starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.orchestration.tasks.base import Desk, LockstepTask

if TYPE_CHECKING:
    from lockstep.domain.revision import Direction


class PlanRoute(LockstepTask):
    """List the revisions to move, in order; refuse, with the reason, where that cannot be done."""

    operator_extra_links = ()
    direction: Direction

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls
        from lockstep.orchestration.children import refuse_paused
        from lockstep.orchestration.params import refuse_bad, route_params

        refuse_bad(desk.context["dag_run"].conf, route_params("", "", self.direction), desk.params)
        target = str(desk.params["target"])
        hops = calls.plan_route(desk.services, desk.chain, target=target, direction=self.direction)
        if not hops:
            desk.log.info(f"nothing to do: the chain is at {target!r} already")
        if self.direction == "downgrade":
            calls.check_way_down(desk.services, desk.chain, [hop.revision_id for hop in hops], desk.params)
        for number, hop in enumerate(hops, 1):
            refuse_paused(hop.dag_id)
            desk.log.info(f"{number} of {len(hops)}: {hop.direction} {hop.revision_id}", dag=hop.dag_id)
        return [
            {"revision": hop.revision_id, "dag_id": hop.dag_id, "direction": hop.direction} for hop in hops
        ]

    def where(self, desk: Desk) -> str:
        return f"planning the way to {desk.params.get('target')!r}"

    def after_failure(self, desk: Desk) -> str:
        return "no revision was started. Do what the error says, then trigger the DAG again."
