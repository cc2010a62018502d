"""Folders of the vault that no row of the ledger knows: reported, and deleted only where that is asked for."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta, timezone

from lockstep.domain.status import RunStatus
from lockstep.engine.housekeeping.found import Found
from lockstep.engine.housekeeping.listing import backups_of, rehearsals_of, runs_of
from lockstep.engine.services import Services

#: the time in the id of a run, and in that of a rehearsal, in UTC
_MARKS = (
    (re.compile(r"(\d{8}[Tt]\d{6})"), "%Y%m%dT%H%M%S"),
    (re.compile(r"(?<![0-9A-Za-z])r(\d{12})"), "%y%m%d%H%M%S"),
)


def find_strangers(
    services: Services, *, after_days: float, by: str, dry_run: bool = False, now: datetime | None = None
) -> Found:
    """Find folders of runs and rehearsals that the ledger does not know, and backups that no row lists.

    `after_days`: they are deleted once the time in their name is so long ago; 0 for never. A folder whose name
    tells no time stays, and so does one of a run that is open.
    """
    now = now or datetime.now(timezone.utc)
    found = _strange(services)
    done: list[str] = []
    kept: list[str] = []
    for folder, (count, why) in sorted(found.items()):
        age = age_of(folder, now)
        told = f"{services.vault.uri(folder)}: {count} object(s); {why}"
        if not after_days or age is None or age < timedelta(days=after_days):
            services.log.warning(f"nobody's: {told}")
            kept.append(told)
            continue
        done.append(f"{'would remove' if dry_run else 'removed'} {told}")
        services.log.info(done[-1])
        if not dry_run:
            _remove(services, folder, why, by)
    return Found(done=tuple(done), facts={"strangers": len(found), "left": kept[:20]})


def age_of(name: str, now: datetime) -> timedelta | None:
    """Return how long ago the time in a name was; None where it tells none."""
    for pattern, form in _MARKS:
        mark = pattern.search(name)
        if mark is not None:
            try:
                return now - datetime.strptime(mark[1].upper(), form).replace(tzinfo=timezone.utc)
            except ValueError:
                continue
    return None


def _strange(services: Services) -> dict[str, tuple[int, str]]:
    """Return folder → how many objects are in it, and why it is nobody's."""
    runs = {run.id: run for run in runs_of(services)}
    rehearsals = {rehearsal.id for rehearsal in rehearsals_of(services)}
    listed = {backup.manifest.path: backup for backup in backups_of(services, removed=True)}
    counted: dict[str, int] = defaultdict(int)
    for root, parts in (("backups/", 4), ("journal/", 2), ("rehearsals/", 2)):
        for path in services.vault.paths(root):
            counted[_folder(path, parts, listed)] += 1
    found: dict[str, tuple[int, str]] = {}
    for folder, count in counted.items():
        root, owner = folder.split("/")[:2]
        backup = listed.get(f"{folder}manifest.json")
        why = None
        if root == "rehearsals":
            why = None if owner in rehearsals else f"the ledger knows no rehearsal {owner}"
        elif owner not in runs:
            why = f"the ledger knows no run {owner}"
        elif root == "backups" and backup is None and runs[owner].status is not RunStatus.OPEN:
            why = "no backup of the ledger lies there: the run ended while it wrote it"
        elif root == "backups" and backup is not None and backup.removed_at is not None:
            why = "the ledger has that backup as removed"
        if why is not None:
            found[folder] = (count, why)
    return found


def _folder(path: str, parts: int, listed: Collection[str]) -> str:
    """Return the folder that a path is counted to: an attempt's, a run's, or a database's of an older backup."""
    names = path.split("/")[:-1]
    above = "/".join(names[:3]) + "/"
    return above if f"{above}manifest.json" in listed else "/".join(names[:parts]) + "/"


def _remove(services: Services, folder: str, why: str, by: str) -> None:
    count = services.vault.remove(services.vault.paths(folder))
    with services.ledger.unit() as unit:
        detail = {"by": by, "folder": services.vault.uri(folder), "objects": count, "why": why}
        unit.note(None, "folder_removed", detail, who=by)
