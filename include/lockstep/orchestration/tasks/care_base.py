"""What the tasks have in common by which a person decides about the state of a revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.orchestration.links import LINKS
from lockstep.orchestration.tasks.base import Desk, LockstepTask
from lockstep.orchestration.tasks.dry import end_dry, is_dry

if TYPE_CHECKING:
    from lockstep.engine.services import Services

PLAN = "plan"


class Planning(LockstepTask):
    """Say in the log what would be done, and refuse what must not be; reads only. A dry run ends with it."""

    operator_extra_links = ()
    #: the task that follows
    decides = ""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls
        from lockstep.orchestration.params import DRY_RUN, refuse_bad

        refuse_bad(desk.context["dag_run"].conf, self.form(), desk.params)
        # Also where it is no dry run: the servers themselves see to it that a plan only reads.
        services = calls.services_for({**desk.params, DRY_RUN: True}, desk.log)
        services.ledger.check()
        lines, facts = self.plan(desk, services)
        for line in lines:
            desk.log.info(line)
        told = {"plan": {"lines": lines, **facts}}
        if is_dry(desk):
            raise end_dry(desk, told, (self.decides,))
        return told

    def form(self) -> Mapping[str, Any]:
        """Return the parameters that this DAG knows."""
        raise NotImplementedError

    def plan(self, desk: Desk, services: Services) -> tuple[list[str], dict[str, Any]]:
        """Return the plan as lines for a person, and as facts."""
        raise NotImplementedError

    def after_failure(self, desk: Desk) -> str:
        return "nothing was changed. Do what the error says, then trigger the DAG again."


class Deciding(LockstepTask):
    """Do what was planned, in one unit of the ledger; refuse it where something has moved since."""

    operator_extra_links = LINKS
    #: its id
    name = ""

    def planned(self, desk: Desk) -> dict[str, Any]:
        """Return the facts of the plan."""
        found: dict[str, Any] = desk.ti.xcom_pull(task_ids=PLAN, map_indexes=-1)["plan"]
        return found

    def after_failure(self, desk: Desk) -> str:
        return "do what the error says, then clear this task, or trigger the DAG again."
