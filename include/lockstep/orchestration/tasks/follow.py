"""Walk the route: one revision after another, waiting without a worker."""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.status import RunStatus, Status
from lockstep.orchestration.failures import ERROR
from lockstep.orchestration.shape import OUTCOME
from lockstep.orchestration.tasks.base import Desk, LockstepTask

PLAN = "plan"
FOLLOW = "follow"
_THERE = {
    "upgrade": frozenset({RunStatus.APPLIED, RunStatus.APPLIED_WITH_QUARANTINE, RunStatus.NOTHING_TO_DO}),
    "downgrade": frozenset({RunStatus.DOWNGRADED, RunStatus.NOTHING_TO_DO}),
}


class Follow(LockstepTask):
    """Start the DAG run of each hop, wait for its end, and stop at the first that is not where it should be.

    It keeps nothing of its own: the ids of the runs follow from this run's id, so that a try after a kill,
    or a cleared one, finds what was started and goes on from there.
    """

    operator_extra_links = ()

    def work(self, desk: Desk) -> Any:
        return self.walk(desk, [])

    def resume(self, context: Any, event: Any = None, done: list[dict[str, Any]] | None = None) -> Any:
        """Go on after a hop's run has ended."""
        return self.guarded(context, lambda desk: self.walk(desk, list(done or [])))

    def walk(self, desk: Desk, done: list[dict[str, Any]]) -> Any:
        """Do the hops that are left; raises TaskDeferred wherever one has to be waited for."""
        from lockstep.orchestration.callers import LIVING, run_is

        route = desk.ti.xcom_pull(task_ids=PLAN, map_indexes=-1) or []
        for number, hop in enumerate(route[len(done) :], len(done) + 1):
            desk.doing = f"{hop['direction']} of revision {hop['revision']}, {number} of {len(route)}"
            run_id = self.begin(desk, hop)
            if run_is(hop["dag_id"], run_id, *LIVING):
                self.wait(hop, run_id, done)
            done.append(self.judge(desk, hop, run_id))
            _tell(desk, done[-1])
        return _summary(desk, done)

    def begin(self, desk: Desk, hop: dict[str, Any]) -> str:
        """Return the run of this hop, started now unless it was before."""
        from lockstep.orchestration import children
        from lockstep.orchestration.params import PARENT, passed_on

        attempts = int(desk.context["dag_run"].clear_number or 0)
        named = (hop["dag_id"], desk.ti.run_id, hop["revision"], hop["direction"], attempts)
        found = children.find(*named)
        if found is not None:
            return found
        run_id = children.child_run_id(*named[1:])
        passed = passed_on(desk.params)
        conf = {
            **passed,
            "direction": hop["direction"],
            PARENT: f"{desk.ti.dag_id}/{desk.ti.run_id}",
        }
        children.start(hop["dag_id"], run_id, conf, passed.get("note"))
        desk.log.info(f"{desk.doing}: started", dag=hop["dag_id"], run=run_id)
        return run_id

    def wait(self, hop: dict[str, Any], run_id: str, done: list[dict[str, Any]]) -> None:
        """Give the worker back until the hop's run has ended."""
        from lockstep.orchestration.waiting import DagRunEnded

        self.defer(trigger=DagRunEnded(hop["dag_id"], run_id), method_name="resume", kwargs={"done": done})

    def judge(self, desk: Desk, hop: dict[str, Any], run_id: str) -> dict[str, Any]:
        """Return how the hop ended, as Airflow and the ledger both say; raise where they do not agree on good."""
        from lockstep.orchestration.callers import run_is
        from lockstep.orchestration.children import told

        run = desk.services.ledger.run_of(hop["dag_id"], run_id)
        state = desk.services.ledger.revisions().get(hop["revision"])
        there = run is not None and run.status in _THERE[hop["direction"]]
        stands = state is not None and state.status is Status.APPLIED
        green = run_is(hop["dag_id"], run_id, "success")
        if not (green and there and stands is (hop["direction"] == "upgrade")):
            raise stopped(hop, run_id, run, green)
        facts = told(hop["dag_id"], run_id, OUTCOME, "return_value") or {}
        return {
            "revision": hop["revision"],
            "direction": hop["direction"],
            "status": str(run.status) if run else "unknown",
            "records": facts.get("records", 0),
            "seconds": facts.get("seconds", 0),
            "backup_bytes": facts.get("backup_bytes", 0),
            "run": run.id if run else None,
            "dag_run": f"{hop['dag_id']}/{run_id}",
        }

    def after_failure(self, desk: Desk) -> str:
        return (
            "the hops before it stand, and no later one was started. Mend the cause, then trigger this DAG again, "
            "or clear this task."
        )


def stopped(hop: dict[str, Any], run_id: str, run: Any, green: bool) -> LockstepError:
    """Return the error for a hop that is not where it should be, in the words of its own run."""
    from lockstep.orchestration.callers import run_is
    from lockstep.orchestration.children import told
    from lockstep.orchestration.links import dag_run_url

    if not run_is(hop["dag_id"], run_id):
        why = "its DAG run was deleted."
    else:
        said = told(hop["dag_id"], run_id, OUTCOME, ERROR) or (run.error if run else None)
        ended = "succeeded in Airflow and not in the ledger" if green else "failed"
        why = str(said) if said else f"its DAG run {ended}, and left no word."
    status = f"the ledger says {run.status}" if run else "the ledger knows no run of it"
    return LockstepError(
        f"stopped at revision {hop['revision']!r} ({hop['direction']}; {status}): {why}\n"
        f"  see: {dag_run_url(hop['dag_id'], run_id)}",
        revision=hop["revision"],
        dag_id=hop["dag_id"],
        dag_run_id=run_id,
    )


def _tell(desk: Desk, ended: dict[str, Any]) -> None:
    said = (
        f"revision {ended['revision']}: {ended['status']}, {ended['records']} record(s), {ended['seconds']} s"
    )
    if ended["status"] == RunStatus.APPLIED_WITH_QUARANTINE.value:
        said += ". Some are left as they were: its run names them, and how to try them again"
        desk.log.warning(said, **ended)
        return
    desk.log.info(said, **ended)


def _summary(desk: Desk, done: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the whole run came to; a deploy pipeline reads it from the API."""
    said = f"{len(done)} revision(s) moved" if done else "nothing to do"
    desk.log.info(f"{said}: the chain is at {desk.params['target']!r}")
    return {"target": desk.params["target"], "moved": len(done), "said": said, "revisions": done}
