"""The concerns of housekeeping, a task each: none waits for another, and each may be run again."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from lockstep.orchestration.tasks.base import Desk, LockstepTask

if TYPE_CHECKING:
    from lockstep.engine.housekeeping.found import Found
    from lockstep.orchestration.housekeeping_params import Wanted

BACKUPS = "remove_backups"
STRANGERS = "find_strangers"
SCRATCH = "drop_scratch_spaces"
LEASES = "tidy_leases"
READING = "read_backups"
PARKED = "remove_parked"
DRIFT = "find_drift"
HISTORY = "audit_history"


class Concern(LockstepTask):
    """One concern; what it finds wrong makes the outcome red, and not itself."""

    operator_extra_links = ()
    #: what it is about, for the words at a failure
    about = ""

    def work(self, desk: Desk) -> Any:
        from lockstep.orchestration.housekeeping_params import Wanted, housekeeping_params
        from lockstep.orchestration.params import refuse_bad

        # Here and not once before all: a misspelt dry_run must stop each of them.
        refuse_bad(desk.context["dag_run"].conf, housekeeping_params(), desk.params)
        wanted = Wanted.of(desk.params)
        if wanted.dry_run:
            desk.log.info("a dry run: nothing is changed")
        found = self.see_to(desk, wanted).as_json()
        desk.log.info(
            f"{self.about}: {len(found['done'])} thing(s) {'to do' if wanted.dry_run else 'done'}, "
            f"{len(found['problems'])} problem(s)"
        )
        return found

    def see_to(self, desk: Desk, wanted: Wanted) -> Found:
        """Do what there is to do."""
        raise NotImplementedError

    def where(self, desk: Desk) -> str:
        return f"housekeeping, {self.about}"

    def after_failure(self, desk: Desk) -> str:
        return "the other concerns go on. Mend the cause, then clear this task, or leave it to the next run."


class RemoveBackups(Concern):
    """Remove backups that are past their retention."""

    about = "the retention of backups"

    def see_to(self, desk: Desk, wanted: Wanted) -> Found:
        from lockstep.orchestration import chores

        retention = chores.Retention(last=wanted.keep_last, days=wanted.keep_days)
        return chores.remove_backups(desk.services, retention, by=who(desk), dry_run=wanted.dry_run)


class FindStrangers(Concern):
    """Report folders of the vault that the ledger does not know."""

    about = "folders in the vault that nobody knows"

    def see_to(self, desk: Desk, wanted: Wanted) -> Found:
        from lockstep.orchestration import chores

        return chores.find_strangers(
            desk.services, after_days=wanted.orphan_days, by=who(desk), dry_run=wanted.dry_run
        )


class DropScratchSpaces(Concern):
    """Drop scratch spaces whose run or rehearsal is over, and remove what rehearsals were loaded from."""

    about = "orphaned scratch spaces and copies"

    def see_to(self, desk: Desk, wanted: Wanted) -> Found:
        from lockstep.domain.resources import Postgres
        from lockstep.orchestration import chores
        from lockstep.orchestration.callers import alive
        from lockstep.orchestration.wiring import LEDGER, conn_id_of

        copies = chores.remove_copies(desk.services, alive=alive, by=who(desk), dry_run=wanted.dry_run)
        return copies + chores.drop_orphans(
            desk.services,
            [*chores.databases_of(desk.chain), Postgres(conn_id_of(LEDGER))],
            alive=alive,
            after_days=wanted.orphan_days,
            by=who(desk),
            dry_run=wanted.dry_run,
        )


class TidyLeases(Concern):
    """Remove leases of ended runs, and report runs that were abandoned."""

    about = "leases, and runs that nobody works on"

    def see_to(self, desk: Desk, wanted: Wanted) -> Found:
        from lockstep.orchestration import chores
        from lockstep.orchestration.callers import alive

        return chores.tidy_leases(desk.services, alive=alive, dry_run=wanted.dry_run)


class ReadBackups(Concern):
    """Read a sample of every backup again."""

    about = "whether backups can still be read"

    def see_to(self, desk: Desk, wanted: Wanted) -> Found:
        from lockstep.orchestration import chores

        sample = chores.Sample(
            small=wanted.check_small_kb * 1024,
            percent=wanted.check_percent,
            day=datetime.now(timezone.utc).date(),
        )
        return chores.read_backups(desk.services, sample, dry_run=wanted.dry_run)


class RemoveParked(Concern):
    """Remove what was parked long ago."""

    about = "the retention of parked things"

    def see_to(self, desk: Desk, wanted: Wanted) -> Found:
        from lockstep.orchestration import chores

        return chores.remove_parked(
            desk.services,
            chores.databases_of(desk.chain),
            days=wanted.parked_days,
            by=who(desk),
            dry_run=wanted.dry_run,
        )


class FindDrift(Concern):
    """Compare each database with what the chain left."""

    about = "drift"

    def see_to(self, desk: Desk, wanted: Wanted) -> Found:
        from lockstep.orchestration import chores

        return chores.find_drift(
            desk.services,
            chores.databases_of(desk.chain),
            ignore=wanted.ignore_drift,
            fail=wanted.fail_on_drift,
            dry_run=wanted.dry_run,
        )


class AuditHistory(Concern):
    """Archive what is left of the history, and check the ledger's against the archive's."""

    about = "the history and its archive"

    def see_to(self, desk: Desk, wanted: Wanted) -> Found:
        from lockstep.orchestration import chores

        return chores.audit_history(desk.services, dry_run=wanted.dry_run)


def who(desk: Desk) -> str:
    """Return who asked for this run; the history says so of what goes."""
    from lockstep.orchestration.callers import SCHEDULER, caller_of

    by = caller_of(desk.context).by
    return by if by not in ("unknown", SCHEDULER) else "housekeeping"


CONCERNS: dict[str, type[Concern]] = {
    BACKUPS: RemoveBackups,
    STRANGERS: FindStrangers,
    SCRATCH: DropScratchSpaces,
    LEASES: TidyLeases,
    READING: ReadBackups,
    PARKED: RemoveParked,
    DRIFT: FindDrift,
    HISTORY: AuditHistory,
}
