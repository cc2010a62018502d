"""Ask a person whether revisions may move, where the environment's policy says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lockstep.domain.approval import APPROVE, REJECT
from lockstep.orchestration.tasks.asking_base import AskingTask
from lockstep.orchestration.tasks.base import Desk

if TYPE_CHECKING:
    from lockstep.domain.approval import Mark
    from lockstep.orchestration.asking import Answer

APPROVE_TASK = "approve"
#: XCom key under which the task `plan` leaves the plan as JSON
PLANNED = "plan"


class ApproveRoute(AskingTask):
    """Wait for a person's word on those revisions of the route that need it; pass where none does."""

    operator_extra_links = ()

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration.tasks.follow import PLAN

        plan = desk.ti.xcom_pull(task_ids=PLAN, key=PLANNED, map_indexes=-1) or {}
        steps = [step for step in plan.get("plan", ()) if step["approval"]["state"] == "needed"]
        if not steps:
            desk.log.info("nobody is asked: the environment's policy wants no approval that is not given yet")
            return None
        raise asking(desk, plan["environment"], steps)

    def said(self, desk: Desk, answer: Answer, kept: Mapping[str, Any]) -> Any:
        return said(desk, answer, kept["marks"])

    def where(self, desk: Desk) -> str:
        return "asking whether the plan may be carried out"

    def after_failure(self, desk: Desk) -> str:
        return "no revision was started. Trigger the DAG again to be asked again."


def asking(desk: Desk, environment: str, steps: Sequence[Mapping[str, Any]]) -> BaseException:
    """Put the question about steps of a plan, as JSON; return what parks the task."""
    from lockstep.orchestration.asking import awaiting

    named = ", ".join(f"{step['revision']} ({step['direction']})" for step in steps)
    marks = [dict(step["mark"]) for step in steps]
    sign = hashlib.sha256(json.dumps(marks, sort_keys=True).encode()).hexdigest()[:16]
    return awaiting(
        desk,
        subject=f"May {len(steps)} revision(s) move in {environment}? {named}",
        body=f"{_body(steps)}\n\nWhat is answered for: `{sign}`",
        choices=(APPROVE, REJECT),
        keep={"marks": marks},
        sign=sign,
    )


def said(desk: Desk, answer: Answer, marks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Keep a person's answer about what they were shown; Refused where it is no."""
    from lockstep.domain.approval import Mark
    from lockstep.orchestration import calls
    from lockstep.orchestration.callers import caller_of

    shown: list[Mark] = [Mark(**mark) for mark in marks]
    caller = caller_of(desk.context)
    if answer.choice != APPROVE:
        calls.reject(desk.services, shown, caller, by=answer.by, at=answer.at)
    calls.approve(desk.services, shown, caller, by=answer.by, at=answer.at)
    return {
        "approved": [mark.revision for mark in shown],
        "by": answer.by,
        "at": answer.at.isoformat() if answer.at else None,
    }


def _body(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return the plan as Markdown: a heading a revision, and what is known of it as a list."""
    lines: list[str] = []
    for step in steps:
        first, *rest = step["lines"]
        lines += [f"**{first}**", ""]
        lines += [f"* {line}" for line in rest]
        lines += [f"* way back of {op['number']}: {op['way_back']}" for op in step["operations"]]
        lines += [f"* file: SHA-256 `{step['checksum']}`", ""]
    lines.append(
        "What is approved is bound to these files and to the report of the rehearsal: where one of them changes, "
        "the approval is void."
    )
    return "\n".join(lines)
