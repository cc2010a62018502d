"""Back up what the revision touches, and prove the backups."""

from __future__ import annotations

from typing import Any

from lockstep.orchestration.lineage import WithLineage, note
from lockstep.orchestration.links import BACKUP_LINKS
from lockstep.orchestration.shape import ASK, DOWNGRADE, SETTLE, VERIFY
from lockstep.orchestration.tasks.base import Desk, LockstepTask, skipping

_NOTHING_CHANGED = (
    "nothing was changed, since no step starts before the backups are proven. The run ends as stopped; mend the "
    "cause and trigger the DAG again."
)


class TakeBackup(WithLineage, LockstepTask):
    """Write the backup of one database to the vault."""

    operator_extra_links = BACKUP_LINKS

    #: its place among the revision's databases
    place: int

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        run, database = desk.run, desk.revision.databases[self.place]
        note(self, desk, reads=[touched for touched in desk.revision.touched if touched.database == database])
        return calls.take_backup(desk.services, desk.revision, run, database)

    def where(self, desk: Desk) -> str:
        return f"backing up {desk.revision.databases[self.place].conn_id}"

    def after_failure(self, desk: Desk) -> str:
        return _NOTHING_CHANGED


class ProveBackups(LockstepTask):
    """Read the backups back, and restore them beside their databases; only then may the data change."""

    operator_extra_links = BACKUP_LINKS

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration import calls

        facts = calls.prove_backups(desk.services, desk.revision, desk.run)
        if desk.run.direction == "downgrade":
            desk.log.info("the backups are proven; this run goes down, so the upgrade is left out", **facts)
            raise skipping(
                (
                    *desk.shape.upgrade_tasks,
                    SETTLE,
                    VERIFY,
                    f"{DOWNGRADE}.{ASK}",
                )
            )
        return facts

    def where(self, desk: Desk) -> str:
        return "proving the backups"

    def after_failure(self, desk: Desk) -> str:
        return _NOTHING_CHANGED
