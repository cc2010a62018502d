"""Give the worker of a held run back: the triggerer waits, and the task comes again where it stopped.

A deferral consumes no try, leaves the task's place in a pool free, and survives the death of a worker, of the
scheduler and of the triggerer: Airflow keeps it in its database until another triggerer takes it up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import TaskDeferred
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from lockstep.domain.errors import Held, LockstepError

if TYPE_CHECKING:
    from lockstep.domain.run import Run
    from lockstep.orchestration.tasks.base import Desk

#: the method of a task that goes on after a hold
GO_ON = "go_on"
#: seconds between two questions whether a pause was lifted
POLL = 2.0


class HoldEnded(BaseTrigger):
    """Fire at a moment; or, while a run is paused, as soon as it is not any more."""

    def __init__(self, until: str, paused_run: str | None = None, ledger: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        #: ISO 8601, so that another triggerer that takes it over waits for the same moment
        self.until = until
        #: the ledger's run whose pause is waited for
        self.paused_run = paused_run
        #: the Airflow connection of its ledger: the triggerer reads no project's files
        self.ledger = ledger

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{__name__}.{type(self).__name__}",
            {"until": self.until, "paused_run": self.paused_run, "ledger": self.ledger},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait. It never fails: a ledger that cannot be read leaves a paused run paused."""
        left = (datetime.fromisoformat(self.until) - datetime.now(timezone.utc)).total_seconds()
        await asyncio.sleep(max(0.0, left))
        if self.paused_run is not None:
            while await sync_to_async(still_paused)(self.paused_run, self.ledger):
                await asyncio.sleep(POLL)
        yield TriggerEvent({"until": self.until})  # type: ignore[no-untyped-call]


def still_paused(run_id: str, conn_id: str | None = None) -> bool:
    """Say whether a run waits for a person; one that is gone from the ledger does not."""
    from lockstep.orchestration import wiring

    try:
        ledger = wiring.ledger_at(conn_id) if conn_id else wiring.ledger()
        return ledger.run(run_id).pause is not None
    except LockstepError as problem:
        return problem.transient
    except Exception:
        return True  # Airflow did not say where the ledger is: ask again


def given_back(desk: Desk, held: Held, since: str | None, before: str | None) -> TaskDeferred:
    """Say why the task is held and until when; return what defers it until then.

    `since`, `before`: when a hold of the same reason began, and that reason, if it came back from one.
    """
    now = datetime.now(timezone.utc)
    began = datetime.fromisoformat(since) if since and before == held.reason else now
    until = now + timedelta(seconds=max(held.seconds, 1.0))
    run = _paused_run(desk)
    desk.log.info(_line(held, began, now, None if run is not None else until), held=held.reason)
    # A pause is asked about at once: whoever resumes the run should see it go on.
    when = now if run is not None else until
    return TaskDeferred(
        trigger=HoldEnded(when.isoformat(), *_asked(desk, run)),
        method_name=GO_ON,
        kwargs={"since": began.isoformat(), "before": held.reason, "left": now.isoformat()},
    )


def _paused_run(desk: Desk) -> Run | None:
    """Return the run where it is paused as far as the ledger can be asked."""
    run_id = desk.task.ledger_run
    if run_id is None:
        return None
    try:
        run = desk.services.ledger.run(run_id)
    except LockstepError:
        return None
    return run if run.pause is not None else None


def _asked(desk: Desk, run: Run | None) -> tuple[str | None, str | None]:
    """Return which run's pause is waited for, and in which ledger."""
    from lockstep.orchestration.wiring import LEDGER, conn_id_in

    return (None, None) if run is None else (run.id, conn_id_in(desk.services.environment, LEDGER))


def _line(held: Held, began: datetime, now: datetime, until: datetime | None) -> str:
    minutes = (now - began).total_seconds() / 60
    so_far = f", for {minutes:.0f} min now" if minutes >= 1 else ""
    then = (
        "until it is resumed"
        if until is None
        else f"until {until:%Y-%m-%d %H:%M:%S} UTC, then it looks again"
    )
    return f"HELD{so_far}: {held.reason}. Nothing failed; the worker is free {then}."
