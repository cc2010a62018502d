"""Ask a person before anything is overwritten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lockstep.domain.errors import Refused
from lockstep.orchestration.tasks.asking_base import AskingTask
from lockstep.orchestration.tasks.base import Desk
from lockstep.orchestration.tasks.restore_names import PLAN

if TYPE_CHECKING:
    from lockstep.orchestration.asking import Answer

YES = "Approve"
NO = "Reject"


class ApproveRestore(AskingTask):
    """Wait for a person's word where the plan overwrites something, or as the form says."""

    operator_extra_links = ()

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration.asking import awaiting

        plan = desk.ti.xcom_pull(task_ids=PLAN, map_indexes=-1)
        policy = str(desk.params.get("approve") or "auto")
        if policy == "never" or (policy == "auto" and plan["empty"]):
            why = "approve = never" if policy == "never" else "nothing is there that could be overwritten"
            desk.log.info(f"nobody is asked: {why}")
            return {"mark": plan["mark"]}
        raise awaiting(
            desk,
            subject=f"Put the backup of run {plan['backup']} back? {plan['records']} record(s) are there now.",
            body=f"{_body(plan['words'])}\n\nWhat is answered for: `{plan['mark']}`",
            choices=(YES, NO),
            keep={"mark": plan["mark"]},
            sign=plan["mark"],
        )

    def said(self, desk: Desk, answer: Answer, kept: Mapping[str, Any]) -> Any:
        from lockstep.engine.approving import told_before

        plan = desk.ti.xcom_pull(task_ids=PLAN, map_indexes=-1)
        at = answer.at.isoformat() if answer.at else None
        if answer.choice == YES:
            desk.log.info(f"{answer.by} approved it")
            return {"mark": kept["mark"], "approved_by": answer.by, "approved_at": at}
        told = {"backup": plan["backup"], "at": at, "dag_run": f"{desk.ti.dag_id} / {desk.ti.run_id}"}
        if not told_before(desk.services, "restore_rejected", told):
            with desk.services.ledger.unit() as unit:
                unit.note(None, "restore_rejected", told, who=answer.by)
        raise Refused(
            f"{answer.by} rejected the restore of run {plan['backup']}. Nothing was changed; to ask again, trigger the "
            "DAG again.",
            backup=plan["backup"],
            by=answer.by,
        )

    def where(self, desk: Desk) -> str:
        return "asking whether the backup is to be put back"

    def after_failure(self, desk: Desk) -> str:
        return "nothing was changed, and nothing more happens in this DAG run."


def _body(words: list[str]) -> str:
    """Return the plan as Markdown."""
    first, *rest = words
    lines = [f"* {line.strip()}" for line in rest]
    return "\n".join([first, "", *lines, "", "What is overwritten is backed up and proven first."])
