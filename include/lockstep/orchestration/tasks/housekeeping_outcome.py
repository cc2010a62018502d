"""Say what housekeeping came to; red where a person has to look at something."""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.orchestration.failures import ERROR
from lockstep.orchestration.tasks.base import Desk, LockstepTask
from lockstep.orchestration.tasks.housekeeping_concerns import CONCERNS

OUTCOME = "outcome"
RESULT = "return_value"


class HousekeepingOutcome(LockstepTask):
    """Put together what the concerns found. The DAG's only leaf."""

    operator_extra_links = ()

    def work(self, desk: Desk) -> Any:
        states = desk.states(tuple(CONCERNS))
        found: dict[str, Any] = {}
        problems: list[str] = []
        for name in CONCERNS:
            if states.get(name) != "success":
                told = desk.ti.xcom_pull(task_ids=name, key=ERROR, map_indexes=-1)
                problems.append(f"{name} is {states.get(name, 'not done')}: {told or 'its log says why'}")
                continue
            found[name] = desk.ti.xcom_pull(task_ids=name, map_indexes=-1) or {}
            problems += found[name].get("problems", [])
        facts = {"dry_run": bool(desk.params.get("dry_run")), "problems": len(problems), **found}
        for name, one in found.items():
            for line in one.get("done", []):
                desk.log.info(f"{name}: {line}")
        if not problems:
            desk.log.info("nothing needs a person")
            return facts
        # Kept for whoever waits for this run: a task that fails returns nothing.
        desk.ti.xcom_push(key=RESULT, value=facts)
        listed = "".join(f"\n  * {problem}" for problem in problems)
        raise LockstepError(f"{len(problems)} thing(s) need a person:{listed}", problems=problems)

    def where(self, desk: Desk) -> str:
        return "housekeeping"

    def after_failure(self, desk: Desk) -> str:
        return "nothing is blocked by this. Do what the lines below say, then trigger the DAG again to see all well."
