"""The steps of a direction: planned and sharded, or as one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from lockstep.domain.errors import LockstepError
from lockstep.orchestration.lineage import WithLineage, note
from lockstep.orchestration.shape import UPGRADE, WHOLE
from lockstep.orchestration.tasks.base import Desk, LockstepTask

if TYPE_CHECKING:
    from lockstep.domain.progress import Phase

#: on_failure → what follows a step of the upgrade that failed
AFTER_UPGRADE = {
    "downgrade": "the tasks below downgrade take back what was done and compare the data with what it was; outcome "
    "tells how that ended.",
    "restore": "on_failure is 'restore': the task put_back makes everything what it was when it was backed up; outcome "
    "tells how that ended.",
    "ask": "on_failure is 'ask': the task downgrade.ask waits for a person to choose what follows, under Required "
    "Actions in Airflow.",
    "leave": "on_failure is 'leave', so nothing is taken back and later runs are refused. Mend the cause, then "
    "trigger the DAG with resume = true to go on where it stopped.",
}
AFTER_WAY_BACK = (
    "what is not taken back stays as it is until put_back has done what on_undo_failure says. Where that is 'leave', "
    "the run ends as failed and blocks every later one: mend the cause, then clear this task and those after it, or "
    "trigger the DAG with resume = true."
)
#: the one item that a step with nothing to plan is mapped over
ONE = ("all",)


class StepTask(WithLineage, LockstepTask):
    """Something of one step; which one depends on the run's direction."""

    moves: Mapping[Phase, int]

    def __init__(self, *, moves: Mapping[Phase, int] | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.moves = dict(moves or {})

    def choose(self, desk: Desk) -> tuple[Phase, int]:
        """Return the phase and the step that this run wants of this task; skip it where there is none."""
        phase: Phase = "upgrade" if "upgrade" in self.moves else desk.phase
        if phase == "upgrade" and desk.run.direction != "upgrade":
            raise AirflowSkipException(f"run {desk.run.id} goes down: nothing of the upgrade is done")
        if phase not in self.moves:
            raise AirflowSkipException(f"the {phase} of this revision has no step here")
        desk.step_phase, desk.step = phase, self.moves[phase]
        desk.doing = self.describe(desk, phase, desk.step)
        operations = desk.revision.operations("downgrade" if phase == "downgrade" else "upgrade")
        chosen = operations if desk.step == WHOLE else operations[desk.step - 1 : desk.step]
        note(
            self,
            desk,
            reads=[touched for operation in chosen for touched in (*operation.reads, *operation.writes)],
            writes=[touched for operation in chosen for touched in operation.writes],
        )
        return phase, desk.step

    def describe(self, desk: Desk, phase: Phase, step: int) -> str:
        """Say which step of how many, on what."""
        operations = desk.revision.operations("downgrade" if phase == "downgrade" else "upgrade")
        if step == WHOLE:
            return f"{phase} of revision {desk.revision.id} in one transaction"
        return f"{phase}, step {step} of {len(operations)}: {operations[step - 1].describe()}"

    def after_failure(self, desk: Desk) -> str:
        if not self.task_id.startswith(f"{UPGRADE}."):
            return AFTER_WAY_BACK
        return AFTER_UPGRADE.get(str(desk.params.get("on_failure")), AFTER_UPGRADE["downgrade"])


class PlanShards(StepTask):
    """Cut a step into key ranges, each for one task."""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        phase, step = self.choose(desk)
        if step == WHOLE:
            return list(ONE)
        labels = calls.plan_step(
            desk.services, desk.revision, desk.run, phase, step, shards=int(desk.params["shards"])
        )
        if not labels:
            raise LockstepError(
                f"{desk.doing}: it was planned as no shard at all, which would skip the rest."
            )
        return list(labels)


class RunShard(StepTask):
    """Work through one key range, batch by batch."""

    def __init__(self, *, keys: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        #: the range's label
        self.keys = keys

    def work(self, desk: Desk) -> Any:
        phase, step = self.choose(desk)
        return perform(desk, phase, step, max(desk.ti.map_index, 0))


class RunStep(StepTask):
    """Do a step that is not cut into shards, or a whole direction in one transaction."""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        phase, step = self.choose(desk)
        if step == WHOLE:
            return perform(desk, phase, step, 0)
        labels = calls.plan_step(desk.services, desk.revision, desk.run, phase, step, shards=1)
        facts: Any = None
        for shard in range(len(labels)):
            facts = perform(desk, phase, step, shard)
        return facts


def perform(desk: Desk, phase: Phase, step: int, shard: int) -> Any:
    """Let the engine do one shard of a step, or a whole direction."""
    from lockstep.orchestration import calls

    if step == WHOLE:
        return calls.run_atomic(desk.services, desk.revision, desk.run, phase, holder=desk.holder)
    return calls.run_step_shard(
        desk.services, desk.revision, desk.run, phase, step, shard, holder=desk.holder
    )
