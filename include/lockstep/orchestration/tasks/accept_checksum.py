"""Accept a harmless edit of an applied revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.orchestration.tasks.base import Desk, skipping
from lockstep.orchestration.tasks.care_base import Deciding, Planning
from lockstep.orchestration.tasks.dry import is_dry

if TYPE_CHECKING:
    from lockstep.engine.services import Services

ACCEPT = "accept"


class PlanAcceptance(Planning):
    """Show what changed in the file; refuse it until the form names the checksum of what was shown."""

    decides = ACCEPT

    def form(self) -> Mapping[str, Any]:
        from lockstep.orchestration.care_params import accept_params

        return accept_params()

    def plan(self, desk: Desk, services: Services) -> tuple[list[str], dict[str, Any]]:
        from lockstep.engine.accepting import plan_acceptance, refuse_unseen

        revision = str(desk.params["revision"]).strip()
        edit = plan_acceptance(services, desk.chain, services.ledger.revisions(), revision=revision)
        if edit is None:
            desk.log.info(f"nothing to do: the file of revision {revision} is as the ledger knows it")
            raise skipping((ACCEPT,))
        if not is_dry(desk):
            # What changed is to be read in this very log, also where the answer is no.
            for line in edit.lines():
                desk.log.info(line)
            refuse_unseen(
                edit,
                checksum=str(desk.params["checksum"]),
                operations=bool(desk.params["operations_may_differ"]),
            )
        return edit.lines() if is_dry(desk) else [], edit.as_json()

    def where(self, desk: Desk) -> str:
        return f"comparing the file of revision {desk.params.get('revision')!r} with what was applied"


class Accept(Deciding):
    """Let the ledger know the file as it is now."""

    name = ACCEPT

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.accepting import Edit, accept
        from lockstep.orchestration.callers import caller_of

        edit = Edit.from_json(self.planned(desk))
        run = accept(
            desk.services,
            desk.chain,
            edit,
            caller=caller_of(desk.context),
            params=desk.params,
            reason=str(desk.params["reason"]),
        )
        self.ledger_run = run.id
        return {"revision": edit.revision, "before": edit.before, "after": edit.after, "run": run.id}

    def where(self, desk: Desk) -> str:
        return f"accepting the file of revision {desk.params.get('revision')!r}"
