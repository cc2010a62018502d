"""Write down how a restore ended, and say so."""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import Refused
from lockstep.orchestration.failures import ERROR
from lockstep.orchestration.links import ALL_LINKS
from lockstep.orchestration.shape import EMIT, OPEN_RUN
from lockstep.orchestration.tasks.base import Desk, LockstepTask, skipping
from lockstep.orchestration.tasks.restore_names import APPROVE, CHOOSE, PLAN


class RecordRestore(LockstepTask):
    """Settle the restore in the ledger: statuses of the revisions, history, outbox, archive."""

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.restoring import ending

        try:
            run = desk.run
        except Refused:
            if desk.was_opened():
                raise
            raise skipping((EMIT,)) from None
        ended = ending.end_restore(desk.services, desk.chain, run)
        return {"run": ended.id, "status": ended.status.value}

    def where(self, desk: Desk) -> str:
        return "recording how the restore ended"

    def after_failure(self, desk: Desk) -> str:
        return (
            "the restore stays open in the ledger. Mend the cause, then clear this task and those after it."
        )


class RestoreOutcome(LockstepTask):
    """Succeed only where all that was asked for is back. The DAG's only leaf."""

    operator_extra_links = ALL_LINKS

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.restoring import ending

        try:
            run = desk.run
        except Refused as refusal:
            if desk.was_opened():
                raise
            raise Refused(self.told(desk) or str(refusal)) from None
        return ending.restore_outcome(desk.services, run)

    @staticmethod
    def told(desk: Desk) -> str | None:
        """Return what the first task that failed said, before there was a run."""
        for task in (CHOOSE, PLAN, APPROVE, OPEN_RUN):
            told = desk.ti.xcom_pull(task_ids=task, key=ERROR, map_indexes=-1)
            if told:
                return str(told)
        return None

    def where(self, desk: Desk) -> str:
        return "the backup is not back"

    def after_failure(self, desk: Desk) -> str:
        return "this DAG run is failed; what to do is in the error below."
