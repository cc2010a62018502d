"""Wait for a DAG run to end without holding a worker: the triggerer does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from lockstep.orchestration.callers import LIVING, run_is

#: questions in a row that may go unanswered before the wait itself counts as failed
PATIENCE = 30


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
        unanswered = 0
        while True:
            try:
                if not await sync_to_async(run_is)(self.dag_id, self.run_id, *LIVING):
                    break
                unanswered = 0
            except AirflowRuntimeError:
                unanswered += 1
                if unanswered >= PATIENCE:
                    raise
            await asyncio.sleep(self.seconds)
        yield TriggerEvent({"dag_id": self.dag_id, "run_id": self.run_id})  # type: ignore[no-untyped-call]
