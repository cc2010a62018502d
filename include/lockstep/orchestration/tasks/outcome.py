"""Make the DAG run tell the truth."""

from __future__ import annotations

from typing import Any

from lockstep.domain.errors import Refused
from lockstep.domain.status import RunStatus
from lockstep.orchestration.failures import ERROR
from lockstep.orchestration.links import ALL_LINKS
from lockstep.orchestration.shape import OPEN_RUN
from lockstep.orchestration.tasks.base import Desk, LockstepTask

#: records in quarantine that the log names
SHOWN = 5


class Outcome(LockstepTask):
    """Succeed only where the database is where the run was asked to bring it. The DAG's only leaf."""

    operator_extra_links = ALL_LINKS

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        try:
            run = desk.run
        except Refused as refusal:
            if desk.was_opened():
                raise
            told = desk.ti.xcom_pull(task_ids=OPEN_RUN, key=ERROR, map_indexes=-1)
            raise Refused(str(told) if told else str(refusal)) from None
        facts = calls.outcome(desk.services, desk.revision, run)
        desk.log.info(
            f"{facts.get('status')}: revision {desk.revision.id} is where this run was to bring it", **facts
        )
        if facts.get("status") == RunStatus.APPLIED_WITH_QUARANTINE.value:
            self.warn(desk, run.id)
        return facts

    def warn(self, desk: Desk, run_id: str) -> None:
        """Name the records that were left as they were, and how they are tried again."""
        left = [one for one in desk.services.ledger.quarantined(run_id) if one.resolved_by is None]
        for one in left[:SHOWN]:
            desk.log.warning(f"in quarantine: {one.resource}, record {one.record.shown}: {one.record.error}")
        more = f" ({SHOWN} of them above; all are on the run's page)" if len(left) > SHOWN else ""
        desk.log.warning(
            f"{len(left)} record(s) are left as they were{more}. Mend them, then trigger "
            f"the DAG {desk.ti.dag_id} with redrive = true: it tries those alone again.",
            quarantined=len(left),
        )

    def where(self, desk: Desk) -> str:
        return f"the {desk.params.get('direction', 'run')} of revision {desk.revision.id} is not where it should be"

    def after_failure(self, desk: Desk) -> str:
        return "this DAG run is failed; what to do is in the error below."
