"""What a run's end leaves for housekeeping: the shape of each database, and what is parked in it."""

from __future__ import annotations

from collections.abc import Iterable

from lockstep.domain.resources import Database
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.housekeeping.parked import TAKEN_BACK, sync_parked
from lockstep.engine.services import Services

#: ends after which a database is as the chain wants it
_SETTLED = frozenset(
    {
        RunStatus.APPLIED,
        RunStatus.APPLIED_WITH_QUARANTINE,
        RunStatus.ROLLED_BACK,
        RunStatus.DOWNGRADED,
        RunStatus.RESTORED,
        RunStatus.BASELINED,
        RunStatus.REPAIRED,
    }
)


def look_around(services: Services, databases: Iterable[Database], run: Run) -> None:
    """Keep the shape of each database that a run touched, and list what is parked there.

    The run has ended and stays as it is: what cannot be taken is said, and nothing is raised. Called again after
    a later run has begun, it does nothing: what it would find is no longer this run's.
    """
    for database in databases:
        try:
            if services.ledger.runs(limit=1)[0].id != run.id:
                return
            sync_parked(services, database, why=TAKEN_BACK)
            if run.status in _SETTLED:
                services.ledger.save_shape(database.conn_id, run.id, services.store(database).portrait())
        except Exception as problem:  # whatever it is, it is no reason to call the run anything else
            services.log.warning(
                f"what {database.conn_id} looks like after run {run.id} could not be kept, so that drift is measured "
                f"against an earlier run: {problem}"
            )
