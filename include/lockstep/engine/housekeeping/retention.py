"""Which backups stay, and why: a rule over plain values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from lockstep.domain.backups import StoredBackup
from lockstep.domain.status import RunStatus


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How much is kept beyond what somebody may still need."""

    #: runs of each revision whose backups are proven and sound; at least one stays whatever this says
    last: int = 3
    #: days for which every backup stays
    days: float = 30


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A backup, and why it stays; None where it may go."""

    backup: StoredBackup
    stays: str | None


def judge(
    backups: Sequence[StoredBackup],
    *,
    needed: Mapping[str, str],
    sources: Mapping[str, Collection[str]],
    retention: Retention,
    now: datetime,
) -> list[Judged]:
    """Say of each backup whether it stays. The backups of one run stay or go together.

    `needed`: run id → why it must stay. `sources`: run id → the runs that had applied what was applied when it
    began: whoever puts its backup back may want to take those back, so the older stay as long as the newer.
    """
    by_run: dict[str, list[StoredBackup]] = defaultdict(list)
    for backup in backups:
        by_run[backup.manifest.run_id].append(backup)
    stays = {run_id: needed[run_id] for run_id in by_run if run_id in needed}
    for run_id, own in by_run.items():
        if own[0].run_status in (RunStatus.OPEN, RunStatus.FAILED):
            stays.setdefault(run_id, f"its run is {own[0].run_status}")
        if _saved(own) > now - timedelta(days=retention.days):
            stays.setdefault(run_id, f"it is younger than {retention.days:g} day(s)")
    for run_id, why in _last(by_run, max(retention.last, 1)).items():
        stays.setdefault(run_id, why)
    _follow(stays, by_run, sources)
    return [Judged(backup=backup, stays=stays.get(backup.manifest.run_id)) for backup in backups]


def is_sound(backup: StoredBackup) -> bool:
    """Whether a backup was proven, and nothing has been found wrong with it since."""
    return backup.proof is not None and backup.problem is None


def _saved(own: Iterable[StoredBackup]) -> datetime:
    return max(backup.saved_at for backup in own)


def _last(by_run: Mapping[str, list[StoredBackup]], last: int) -> dict[str, str]:
    """Return the latest runs of each revision, those left out whose backups could not be relied on."""
    by_revision: dict[str, list[str]] = defaultdict(list)
    for run_id, own in by_run.items():
        if all(is_sound(backup) for backup in own):
            by_revision[own[0].revision].append(run_id)
    found: dict[str, str] = {}
    for revision, runs in by_revision.items():
        newest = sorted(runs, key=lambda run_id: (_saved(by_run[run_id]), run_id), reverse=True)
        for run_id in newest[:last]:
            found[run_id] = f"it is one of the last {last} of revision {revision}"
    return found


def _follow(
    stays: dict[str, str], by_run: Mapping[str, list[StoredBackup]], sources: Mapping[str, Collection[str]]
) -> None:
    """Add what the backups that stay lean on: files of earlier backups, and the runs that had been before them."""
    owners = {backup.manifest.path: run_id for run_id, own in by_run.items() for backup in own}
    waiting = list(stays)
    while waiting:
        run_id = waiting.pop()
        leans_on = {
            owners[path]: f"the backup of run {run_id} uses its files"
            for backup in by_run.get(run_id, ())
            for path in backup.manifest.reuses.values()
            if path in owners
        }
        for source in sources.get(run_id, ()):
            if source in by_run:
                leans_on.setdefault(
                    source, f"the backup of run {run_id} stays, and is of what it had applied"
                )
        for other, why in leans_on.items():
            if other not in stays:
                stays[other] = why
                waiting.append(other)
