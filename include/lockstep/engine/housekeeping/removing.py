"""Remove the backups that nobody needs any more, with the journals of their runs."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from lockstep.domain.backups import StoredBackup
from lockstep.domain.run import Run
from lockstep.engine.housekeeping.found import Found, size_text
from lockstep.engine.housekeeping.listing import backups_of, rehearsals_of, runs_of, whole
from lockstep.engine.housekeeping.needed import built_on, needed_runs
from lockstep.engine.housekeeping.retention import Judged, Retention, judge
from lockstep.engine.services import Services

#: noted as a backup's problem before its first file goes, so that no run begins to lean on it
GOING = "housekeeping is removing it"
#: where the engine puts backups; nothing outside is removed with one
BACKUPS = "backups/"


@dataclass(frozen=True, kw_only=True)
class _Plan:
    judged: list[Judged]
    #: the run that is open: while there is one, nothing is removed
    held: Run | None
    #: files of other folders that backups which stay refer to
    shared: frozenset[str]

    @property
    def going(self) -> list[StoredBackup]:
        """What goes, oldest first."""
        return [one.backup for one in reversed(self.judged) if one.stays is None]


def remove_backups(
    services: Services, retention: Retention, *, by: str, dry_run: bool = False, now: datetime | None = None
) -> Found:
    """Remove what the retention lets go; in a dry run say what would go, and why each of the others stays.

    A crash in between leaves a backup that is still listed, and the next call finishes it.
    """
    plan = _plan(services, retention, dry_run=dry_run, now=now or datetime.now(timezone.utc))
    _tell(services, plan, dry_run)
    facts = {"backups": len(plan.judged), "stay": len(plan.judged) - len(plan.going)}
    if plan.held is not None and plan.going and not dry_run:
        services.log.warning(
            f"nothing is removed while run {plan.held.id} is open: it may use what it finds. The next "
            "housekeeping after it does so."
        )
        return Found(facts={**facts, "removed": 0, "waits_for": plan.held.id})
    going = [_removed_in_words(backup) for backup in plan.going]
    if dry_run:
        return Found(done=tuple(f"would remove {told}" for told in going), facts={**facts, "removed": 0})
    left = [one.backup.manifest.run_id for one in plan.judged]
    for backup in plan.going:
        left.remove(backup.manifest.run_id)
        _remove(services, backup, plan.shared, journal=backup.manifest.run_id not in left, by=by)
    return Found(done=tuple(f"removed {told}" for told in going), facts={**facts, "removed": len(plan.going)})


def _plan(services: Services, retention: Retention, *, dry_run: bool, now: datetime) -> _Plan:
    """Judge, and mark what goes, under the chain's lock: a run that begins later sees the mark."""
    with services.ledger.unit() as unit:
        held = unit.open_run()
        runs = runs_of(services)
        judged = judge(
            backups_of(services),
            needed=needed_runs(unit.revisions(), runs, rehearsals_of(services)),
            sources=built_on(runs),
            retention=retention,
            now=now,
        )
        judged = [_only_ours(one) for one in judged]
        plan = _Plan(judged=judged, held=held, shared=_shared(services, judged))
        if held is None and not dry_run:
            for backup in plan.going:
                services.ledger.backup_checked(backup.manifest, problem=GOING)
    return plan


def _only_ours(judged: Judged) -> Judged:
    if judged.stays is None and not judged.backup.manifest.path.startswith(BACKUPS):
        return replace(judged, stays=f"it does not lie below {BACKUPS}, where backups of runs are")
    return judged


def _shared(services: Services, judged: list[Judged]) -> frozenset[str]:
    """Return the files that backups which stay take from folders of other backups."""
    leaning = [one.backup for one in judged if one.stays is not None and one.backup.manifest.reuses]
    return frozenset(
        file.path
        for backup in leaning
        for file in whole(services, backup).manifest.files
        if not file.path.startswith(_folder(backup))
    )


def _tell(services: Services, plan: _Plan, dry_run: bool) -> None:
    with services.log.group(f"{len(plan.judged)} backup(s)"):
        for one in plan.judged:
            if one.stays is None:
                continue
            services.log.info(f"stays: {_named(one.backup)}, since {one.stays}")
    for backup in plan.going:
        services.log.info(f"{'would go' if dry_run else 'goes'}: {_named(backup)}")


def _named(backup: StoredBackup) -> str:
    manifest = backup.manifest
    return (
        f"backup of {manifest.conn_id} by run {manifest.run_id} (revision {backup.revision}, {backup.way}, "
        f"saved {backup.saved_at:%Y-%m-%d %H:%M} UTC)"
    )


def _removed_in_words(backup: StoredBackup) -> str:
    return f"the {_named(backup)}"


def _remove(
    services: Services, backup: StoredBackup, shared: Collection[str], *, journal: bool, by: str
) -> None:
    """Delete files, then say so: whatever the ledger says is gone is gone."""
    manifest = backup.manifest
    vault, folder = services.vault, _folder(backup)
    size = whole(services, backup).manifest.size
    count = vault.remove(_but(vault.paths(folder), {*shared, manifest.path}))
    services.reached("backup files removed")
    if journal:
        count += vault.remove(vault.paths(f"journal/{manifest.run_id}/"))
        services.reached("journal removed")
    if manifest.path not in shared:
        count += vault.remove([manifest.path])
    services.reached("manifest removed")
    detail = {
        "by": by,
        "backup": vault.uri(manifest.path),
        "conn_id": manifest.conn_id,
        "objects": count,
        "bytes": size,
        "saved_at": backup.saved_at.isoformat(),
        "journal": journal,
    }
    with services.ledger.unit() as unit:
        unit.note(manifest.run_id, "backup_removed", detail, who=by)
    services.reached("removal noted")
    services.ledger.backup_removed(manifest)
    services.log.info(
        f"removed {vault.uri(folder)}: {count} object(s), {size_text(size)}",
        run=manifest.run_id,
        with_journal=journal,
    )


def _folder(backup: StoredBackup) -> str:
    return posixpath.dirname(backup.manifest.path) + "/"


def _but(paths: Iterator[str], kept: Collection[str]) -> Iterator[str]:
    return (path for path in paths if path not in kept)
