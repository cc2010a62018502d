"""Decide whether something is to be taken back, and how."""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import Refused
from lockstep.orchestration.shape import EMIT, RECORD
from lockstep.orchestration.tasks.base import Desk, LockstepTask, skipping


class Decide(LockstepTask):
    """Open the way down, or leave out every task on it."""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        try:
            run = desk.run
        except Refused:
            if desk.was_opened():
                raise
            raise skipping(
                (
                    *desk.shape.after_decision,
                    RECORD,
                    EMIT,
                )
            ) from None
        way = calls.way_down(desk.services, desk.revision, run)
        if way == "none":
            desk.log.info("nothing is to be taken back", run=run.id)
            raise skipping(desk.shape.after_decision)
        if way == "restore":
            desk.log.info("the backups are put back instead of taking back step by step", run=run.id, way=way)
            raise skipping(desk.shape.taking_back)
        if way != desk.phase:
            raise Refused(f"run {run.id} is an {run.direction}, and its way down is said to be {way!r}.")
        desk.log.info(f"the {way} starts: {len(desk.shape.downgrade)} step(s)", run=run.id, way=way)
        idle = desk.shape.idle(desk.phase)
        if idle:
            raise skipping(idle)
        return {"way": way}

    def where(self, desk: Desk) -> str:
        return "deciding what is to be taken back"

    def after_failure(self, desk: Desk) -> str:
        return "nothing more is taken back in this run. Clear this task and those after it to try again."
