"""What every task of a rehearsal works with besides its desk."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.domain.errors import Refused
from lockstep.orchestration.links import REPORT_LINKS
from lockstep.orchestration.rehearse_params import asked_from
from lockstep.orchestration.tasks.base import Desk, LockstepTask

if TYPE_CHECKING:
    from lockstep.domain.rehearsal import Rehearsal
    from lockstep.engine.rehearsing.opening import Plan
    from lockstep.engine.rehearsing.stage import Backstage

DAG_ID = "rehearse"
OPEN = "open"
BACK_UP = "back_up"
TRY_OUT = "try_out"
DROP = "drop"
REPORT = "report"
ANNOUNCE = "announce"
OUTCOME = "outcome"
#: what back_up is mapped over where nothing is to be backed up
NOTHING = "nothing: an earlier backup is taken"


class Rehearsing:
    """The rehearsal of this DAG run, each part loaded when it is first asked for."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.asked = asked_from(desk.params)

    @cached_property
    def rehearsal(self) -> Rehearsal:
        from lockstep.engine.rehearsing.opening import current_rehearsal

        return current_rehearsal(self.desk.services, self.desk.ti.dag_id, self.desk.ti.run_id)

    @cached_property
    def plan(self) -> Plan:
        from lockstep.engine.rehearsing.opening import plan_of

        return plan_of(self.desk.services, self.desk.chain, self.rehearsal, self.asked)

    @cached_property
    def backstage(self) -> Backstage:
        from lockstep.orchestration.backstage import backstage_for

        return backstage_for([one.database for one in self.plan.wanted], self.desk.services.environment)

    @property
    def folder(self) -> Path:
        return Path(self.desk.task.path)


def begun(desk: Desk) -> Rehearsing:
    """Return the rehearsal, once it is known that there is one; a task that ends it has nothing to do otherwise."""
    from airflow.sdk.exceptions import AirflowSkipException

    this = Rehearsing(desk)
    try:
        _ = this.rehearsal
    except Refused as refusal:
        raise AirflowSkipException(str(refusal)) from None
    return this


class RehearsalTask(LockstepTask):
    """A task of the DAG `rehearse`. The live databases are read by one of them, and written by none."""

    operator_extra_links = REPORT_LINKS

    def after_failure(self, desk: Desk) -> str:
        return "the live databases are as they were. Mend the cause, then trigger the DAG rehearse again."
