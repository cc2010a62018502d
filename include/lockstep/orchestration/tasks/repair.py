"""Let a person say what a failed revision really is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.orchestration.tasks.base import Desk
from lockstep.orchestration.tasks.care_base import Deciding, Planning

if TYPE_CHECKING:
    from lockstep.engine.services import Services

SETTLE = "settle"


class PlanRepair(Planning):
    """Say what would change, what of the run stays behind, and whether verify() holds."""

    decides = SETTLE

    def form(self) -> Mapping[str, Any]:
        from lockstep.orchestration.care_params import repair_params

        return repair_params()

    def plan(self, desk: Desk, services: Services) -> tuple[list[str], dict[str, Any]]:
        from lockstep.engine.repairing import plan_repair
        from lockstep.orchestration.callers import alive

        found = plan_repair(
            services,
            desk.chain,
            revision=str(desk.params["revision"]).strip(),
            outcome=str(desk.params["outcome"]),
            force=bool(desk.params["force"]),
            alive=alive,
        )
        return found.lines(), found.as_json()

    def where(self, desk: Desk) -> str:
        return "looking what is to be repaired"


class Settle(Deciding):
    """Give the revision the status that was chosen, and end the run that was left."""

    name = SETTLE

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.repairing import Repair, repair, repaired
        from lockstep.orchestration.callers import alive, caller_of

        run = repair(
            desk.services,
            desk.chain,
            Repair.from_json(self.planned(desk)),
            caller=caller_of(desk.context),
            params=desk.params,
            reason=str(desk.params["reason"]),
            alive=alive,
        )
        self.ledger_run = run.id
        return repaired(run)

    def where(self, desk: Desk) -> str:
        return f"recording that the revision is {desk.params.get('outcome')!r}"
