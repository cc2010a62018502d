"""Say what a restore would do, before it does anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.orchestration.tasks.base import Desk, LockstepTask
from lockstep.orchestration.tasks.restore_names import CHOOSE

if TYPE_CHECKING:
    from lockstep.engine.restoring.plan import RestorePlan


def planned(desk: Desk) -> RestorePlan:
    """Return the plan for what the form asks for, as things are now."""
    return plan_of(desk, desk.ti.xcom_pull(task_ids=CHOOSE, map_indexes=-1)["backup"])


def plan_of(desk: Desk, backup: str) -> RestorePlan:
    """Return the plan of putting a backup back as the form says, as things are now."""
    from lockstep.domain.run import Caller
    from lockstep.engine.restoring import planning
    from lockstep.orchestration.callers import alive
    from lockstep.orchestration.restore_params import into_from, only_from

    def another(caller: Caller) -> bool:
        # This DAG run itself, cleared half-way, is no other that would have to end first.
        mine = (caller.dag_id, caller.dag_run_id) == (desk.ti.dag_id, desk.ti.run_id)
        return not mine and alive(caller)

    return planning.plan_restore(
        desk.services,
        desk.chain,
        backup=backup,
        only=only_from(desk.params),
        into=into_from(desk.params),
        reconcile=bool(desk.params.get("reconcile", True)),
        alive=another,
    )


class PlanRestore(LockstepTask):
    """Write the plan into the log; refuse, with every reason, what must not be done."""

    operator_extra_links = ()

    def work(self, desk: Desk) -> Any:
        plan = planned(desk)
        for line in plan.words:
            desk.log.info(line)
        plan.refuse()
        return {
            "backup": plan.backup,
            "mark": plan.mark,
            "words": plan.words,
            "records": plan.records,
            "empty": plan.empty,
        }

    def where(self, desk: Desk) -> str:
        return "planning the restore"

    def after_failure(self, desk: Desk) -> str:
        return "nothing was changed. Do what the error says, then trigger the DAG again."
