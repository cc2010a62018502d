"""Open the run of a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.domain.errors import Refused
from lockstep.domain.status import RunStatus
from lockstep.orchestration.links import ALL_LINKS
from lockstep.orchestration.shape import EMIT, RECORD
from lockstep.orchestration.tasks.base import Desk, LockstepTask, skipping
from lockstep.orchestration.tasks.plan_restore import planned
from lockstep.orchestration.tasks.restore_names import APPROVE, BACK_UP, CHOOSE, PUT_BACK

if TYPE_CHECKING:
    from lockstep.engine.restoring.plan import RestorePlan


class OpenRestore(LockstepTask):
    """Look once more whether the plan still is the approved one, and open the run; return its databases."""

    operator_extra_links = ALL_LINKS

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.restoring import opening, work
        from lockstep.orchestration.callers import alive, caller_of

        caller = caller_of(desk.context)
        backup = desk.ti.xcom_pull(task_ids=CHOOSE, map_indexes=-1)["backup"]
        run = opening.opened_before(desk.services, desk.chain, caller, backup) or opening.open_restore(
            desk.services,
            desk.chain,
            self.approved(desk),
            caller=caller,
            params=desk.params,
            alive=alive,
            approved=_who_said_so(desk),
        )
        self.ledger_run = run.id
        if run.status is not RunStatus.OPEN:
            desk.log.info(f"restore {run.id} is {run.status}: nothing is left to do but to say so")
            raise skipping((BACK_UP, PUT_BACK, RECORD, EMIT))
        return work.labels(run)

    @staticmethod
    def approved(desk: Desk) -> RestorePlan:
        """Return the plan as things are now; Refused where it is not the one that was approved."""
        plan = planned(desk)
        plan.refuse()
        if plan.mark != desk.ti.xcom_pull(task_ids=APPROVE, map_indexes=-1)["mark"]:
            raise Refused(
                f"what would be done is not what was planned and approved any more: {' '.join(plan.words)} Nothing was "
                "changed; trigger the DAG again.",
                backup=plan.backup,
            )
        return plan

    def where(self, desk: Desk) -> str:
        return "opening the restore"

    def after_failure(self, desk: Desk) -> str:
        return "no data was changed. Do what the error says, then clear this task or trigger the DAG again."


def _who_said_so(desk: Desk) -> dict[str, Any]:
    """Return who chose the backup and who approved the plan, as far as anybody was asked."""
    told: dict[str, Any] = {}
    for task in (CHOOSE, APPROVE):
        told |= desk.ti.xcom_pull(task_ids=task, map_indexes=-1) or {}
    told.pop("mark", None)
    return told if len(told) > 1 else {}
