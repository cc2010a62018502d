"""The end of a rehearsal: the verdict, who is told of it, the scratch spaces, and the truth about the DAG run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lockstep.domain.errors import NotAtTarget, Refused
from lockstep.domain.rehearsal import Verdict
from lockstep.orchestration.failures import ERROR
from lockstep.orchestration.tasks.base import Desk
from lockstep.orchestration.tasks.rehearse_base import (
    BACK_UP,
    OPEN,
    TRY_OUT,
    RehearsalTask,
    Rehearsing,
    begun,
)

if TYPE_CHECKING:
    from lockstep.domain.announcement import State

_STATES: dict[Verdict, State] = {
    Verdict.GREEN: "success",
    Verdict.RED: "failure",
    Verdict.STOPPED: "error",
}
#: characters of a reason that fit into one sentence elsewhere
TOLD = 300


class EndRehearsal(RehearsalTask):
    """Give the verdict, with its report and its predictions, in the ledger."""

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.rehearsing.ending import end_rehearsal

        this = begun(desk)
        if this.rehearsal.verdict is not None:
            return {"verdict": this.rehearsal.verdict.value}
        told = [desk.ti.xcom_pull(task_ids=task, key=ERROR) for task in (TRY_OUT, BACK_UP)]
        ended, report = end_rehearsal(desk.services, this.rehearsal, why_stopped=_first(told))
        return {
            "rehearsal": ended.id,
            "verdict": str(ended.verdict),
            "why": report["why"],
            "report": desk.services.vault.uri(str(ended.report_path)),
            "predicted_seconds": {name: one.seconds for name, one in ended.predicted.items()},
        }

    def where(self, desk: Desk) -> str:
        return "giving the verdict"


def _first(told: list[Any]) -> str | None:
    """Return the first word that a failed task left; a mapped one leaves a list."""
    for one in told:
        for text in [one] if one is None or isinstance(one, str) else one:
            if text:
                return str(text)
    return None


class DropScratch(RehearsalTask):
    """Drop every scratch space of the rehearsal, of whichever try, unless they are to be kept."""

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.rehearsing.dropping import drop_rehearsal

        this = begun(desk)
        return drop_rehearsal(
            desk.services, this.backstage, this.rehearsal, this.plan.wanted, keep=this.asked.keep
        )

    def where(self, desk: Desk) -> str:
        return "dropping the scratch spaces"

    def after_failure(self, desk: Desk) -> str:
        return "some scratch spaces are still there: clear this task, or leave them to the DAG housekeeping."


class AnnounceVerdict(RehearsalTask):
    """Tell those who wait. Whoever cannot be reached does not fail the rehearsal."""

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.announcing import announce
        from lockstep.orchestration.links import report_url

        rehearsal = begun(desk).rehearsal
        verdict = rehearsal.verdict or Verdict.STOPPED
        why = str(rehearsal.facts.get("why") or "")
        text = {
            Verdict.GREEN: "Up, down and up again on a copy: all as it should be",
            Verdict.RED: f"Red: {why}",
            Verdict.STOPPED: f"Stopped: {why}",
        }[verdict]
        return announce(
            desk.services,
            rehearsal,
            _STATES[verdict],
            url=report_url(rehearsal.id, self.pages),
            text=text if len(text) <= TOLD else text[: TOLD - 1] + "…",
        )

    def where(self, desk: Desk) -> str:
        return "telling of the verdict"


class RehearsalOutcome(RehearsalTask):
    """Succeed only for a green verdict. The DAG's only leaf."""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration.links import report_url

        try:
            rehearsal = Rehearsing(desk).rehearsal
        except Refused as refusal:
            told = desk.ti.xcom_pull(task_ids=OPEN, key=ERROR)
            raise Refused(str(told) if told else str(refusal)) from None
        facts = {
            "rehearsal": rehearsal.id,
            "target": rehearsal.target,
            "verdict": str(rehearsal.verdict),
            "revisions": list(rehearsal.revisions),
            "predicted_seconds": {name: one.seconds for name, one in rehearsal.predicted.items()},
            "report": report_url(rehearsal.id, self.pages),
        }
        if rehearsal.verdict is Verdict.GREEN:
            desk.log.info("green: up, down and up again, and what came back is what was there", **facts)
            return facts
        raise NotAtTarget(
            f"rehearsal {rehearsal.id} to {rehearsal.target} is {rehearsal.verdict or 'without a verdict'}.\n"
            f"  why: {rehearsal.facts.get('why') or 'look for the first red task'}\n"
            f"  report: {facts['report']}",
            **facts,
        )

    def where(self, desk: Desk) -> str:
        return "looking at the verdict"

    def after_failure(self, desk: Desk) -> str:
        return "the live databases are as they were; what to mend is in the error below, and in the report."
