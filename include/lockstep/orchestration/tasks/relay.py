"""Deliver what has not arrived yet."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from lockstep.orchestration.tasks.base import Desk, LockstepTask

RELAY = "deliver"


class Relay(LockstepTask):
    """Deliver what is due; red where a sink refuses, or has not answered for too long."""

    operator_extra_links = ()

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls
        from lockstep.orchestration.params import refuse_bad
        from lockstep.orchestration.relay import relay_params

        params = desk.params
        refuse_bad(desk.context["dag_run"].conf, relay_params(), params)
        if params["dry_run"]:
            return {"plan": calls.look_at_outbox(desk.services)}
        return calls.relay(
            desk.services, overdue=timedelta(hours=params["overdue_hours"]), at_once=params["at_once"]
        )

    def where(self, desk: Desk) -> str:
        return "delivering the events of the outbox"

    def after_failure(self, desk: Desk) -> str:
        return "nothing is lost and no run is held up: the next run of this DAG tries again what is due."
