"""Adopt databases that already are at a revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.orchestration.tasks.base import Desk
from lockstep.orchestration.tasks.care_base import Deciding, Planning

if TYPE_CHECKING:
    from lockstep.engine.services import Services

ADOPT = "adopt"


class PlanBaseline(Planning):
    """Ask the live data whether it is at the revision, and list what becomes applied."""

    decides = ADOPT

    def form(self) -> Mapping[str, Any]:
        from lockstep.orchestration.care_params import baseline_params

        return baseline_params()

    def plan(self, desk: Desk, services: Services) -> tuple[list[str], dict[str, Any]]:
        from lockstep.engine.baselining import plan_baseline
        from lockstep.orchestration.care_params import unverified_from

        found = plan_baseline(
            services,
            desk.chain,
            services.ledger.revisions(),
            target=str(desk.params["target"]),
            unverified=unverified_from(desk.params),
        )
        return found.lines(), {
            "target": found.target,
            "revisions": dict(found.revisions),
            "unverified": list(found.unverified),
        }

    def where(self, desk: Desk) -> str:
        return f"looking whether the databases are at {desk.params.get('target')!r}"


class Adopt(Deciding):
    """Mark the revisions applied."""

    name = ADOPT

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.baselining import Adoption, adopt
        from lockstep.orchestration.callers import caller_of

        planned = self.planned(desk)
        runs = adopt(
            desk.services,
            desk.chain,
            Adoption(
                target=planned["target"],
                revisions=planned["revisions"],
                unverified=tuple(planned["unverified"]),
            ),
            caller=caller_of(desk.context),
            params=desk.params,
            reason=str(desk.params["reason"]),
        )
        self.ledger_run = runs[-1].id if runs else None
        return {"target": planned["target"], "revisions": {run.revision: run.id for run in runs}}

    def where(self, desk: Desk) -> str:
        return f"adopting the databases at {desk.params.get('target')!r}"
