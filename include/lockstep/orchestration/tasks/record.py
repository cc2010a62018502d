"""Write down how the run ended."""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import Refused
from lockstep.orchestration.shape import EMIT
from lockstep.orchestration.tasks.base import Desk, LockstepTask, skipping


class Record(LockstepTask):
    """Settle the run in the ledger: status, history, outbox, archive."""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        try:
            run = desk.run
        except Refused:
            if desk.was_opened():
                raise
            raise skipping((EMIT,)) from None
        ended = calls.record(desk.services, desk.revision, run)
        desk.log.info(f"run {ended.id} is recorded as {ended.status}", revision=ended.revision)
        return {"run": ended.id, "status": ended.status.value}

    def where(self, desk: Desk) -> str:
        return "recording how the run ended"

    def after_failure(self, desk: Desk) -> str:
        return "the run stays open in the ledger. Mend the cause, then clear this task and those after it."
