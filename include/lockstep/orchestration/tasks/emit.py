"""Tell the world what happened."""

from __future__ import annotations

from typing import Any

from lockstep.orchestration.tasks.base import Desk, LockstepTask


class Emit(LockstepTask):
    """Try to deliver what waits in the outbox; the relay sees to the rest."""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        return calls.emit(desk.services)

    def where(self, desk: Desk) -> str:
        return "delivering the events of the outbox"

    def after_failure(self, desk: Desk) -> str:
        return (
            "the data and the ledger are as recorded, and the events stay in the outbox: the DAG relay delivers "
            "them, or the next run, or clear this task."
        )
