"""The work of a restore, one task for each database."""

from __future__ import annotations

from typing import Any

from lockstep.orchestration.links import BACKUP_LINKS
from lockstep.orchestration.tasks.base import Desk, LockstepTask


class _OfDatabase(LockstepTask):
    """Something of one database of the restore."""

    operator_extra_links = BACKUP_LINKS

    def __init__(self, *, database: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        #: what the database is called
        self.database = database

    @staticmethod
    def place(desk: Desk) -> int:
        """Return which of the restore's databases is meant."""
        return max(int(desk.ti.map_index), 0)


class BackUpOverwritten(_OfDatabase):
    """Back up what will be overwritten, and prove it."""

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.restoring import overwritten

        return overwritten.back_up_overwritten(desk.services, desk.run, self.place(desk))

    def where(self, desk: Desk) -> str:
        return f"backing up what would be overwritten: {self.database}"

    def after_failure(self, desk: Desk) -> str:
        return "nothing was changed. The run ends as stopped; mend the cause and trigger the DAG again."


class PutDatabaseBack(_OfDatabase):
    """Make the database what its backup holds, and compare the two."""

    def work(self, desk: Desk) -> Any:
        from lockstep.engine.restoring import putting

        return putting.restore_database(desk.services, desk.run, self.place(desk))

    def where(self, desk: Desk) -> str:
        return f"putting back {self.database}"

    def after_failure(self, desk: Desk) -> str:
        return (
            "the other databases are put back, and the restore stays open, so that no other run starts. Mend the cause, "
            "then clear this task or trigger the DAG with the same form: it carries on."
        )
