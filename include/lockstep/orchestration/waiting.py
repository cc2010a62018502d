"""Wait for a DAG run to end without holding a worker: the triggerer does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from lockstep.orchestration.callers import LIVING, run_is
from lockstep.orchestration.polling import poll


class DagRunEnded(BaseTrigger):
    """Fire when a DAG run is no longer queued or running, which one that was deleted is not either."""

    def __init__(self, dag_id: str, run_id: str, seconds: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dag_id = dag_id
        self.run_id = run_id
        #: seconds between two questions
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{__name__}.{type(self).__name__}",
            {"dag_id": self.dag_id, "run_id": self.run_id, "seconds": self.seconds},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until the run has ended."""
        await poll(self.ended, self.seconds)
        yield TriggerEvent({"dag_id": self.dag_id, "run_id": self.run_id})  # type: ignore[no-untyped-call]

    def ended(self) -> bool | None:
        """Return True once the run lives no more."""
        return None if run_is(self.dag_id, self.run_id, *LIVING) else True
