"""Back up one live database for the copy."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from lockstep.domain.rehearsal import FRESH
from lockstep.orchestration.tasks.base import Desk
from lockstep.orchestration.tasks.rehearse_base import RehearsalTask, Rehearsing


class BackUpLive(RehearsalTask):
    """Read one live database into the rehearsal's folder of the vault."""

    def __init__(self, *, database: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        #: its label
        self.database = database

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.rehearsing.source import back_up_live

        this = Rehearsing(desk)
        if this.asked.source != FRESH:
            raise AirflowSkipException(f"the copy is loaded from the backup of run {this.asked.source}")
        wanted = this.plan.wanted[max(desk.ti.map_index, 0)]
        return back_up_live(desk.services, this.plan, wanted)

    def where(self, desk: Desk) -> str:
        return f"backing up {self.database} for the copy"
