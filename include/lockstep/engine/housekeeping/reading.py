"""Read backups again, a sample at a time, so that what is in the list can be relied on."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from lockstep.domain.backups import StoredBackup
from lockstep.domain.errors import DataError
from lockstep.domain.progress import BackupFile, Manifest
from lockstep.engine.backup import manifest_json
from lockstep.engine.housekeeping.found import Found, size_text
from lockstep.engine.housekeeping.listing import backups_of, whole
from lockstep.engine.housekeeping.removing import GOING
from lockstep.engine.services import Services


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Which files of a backup are read on one day."""

    #: bytes up to which a file is always read
    small: int = 64 * 1024
    #: percent of the other files that are read each day
    percent: float = 10.0
    #: which share is read follows from the day, so that every file comes round
    day: date

    @property
    def rounds(self) -> int:
        """Days after which every file was read; 0 where the large ones never are."""
        return math.ceil(100 / self.percent) if self.percent > 0 else 0

    def takes(self, file: BackupFile) -> bool:
        if file.size <= self.small:
            return True
        if not self.rounds:
            return False
        place = int.from_bytes(hashlib.sha256(file.path.encode()).digest()[:8], "big")
        return place % self.rounds == self.day.toordinal() % self.rounds


def read_backups(services: Services, sample: Sample, *, dry_run: bool = False) -> Found:
    """Read the manifest and a sample of the files of every backup in the list, and compare.

    What is wrong is noted with the backup, and what is well again is too; a dry run notes nothing. Raises
    Unavailable where the vault does not answer: that says nothing of the backups.
    """
    files, size, problems = 0, 0, []
    listed = [backup for backup in backups_of(services) if backup.problem != GOING]
    for header in listed:
        backup = whole(services, header)
        chosen = [file for file in backup.manifest.files if sample.takes(file)]
        wrong = _read(services, backup, chosen)
        files += len(chosen) + 1
        size += sum(file.size for file in chosen)
        if wrong and _went(services, header):
            continue
        if not dry_run and _says_more(header, backup.manifest.files, chosen, wrong):
            services.ledger.backup_checked(backup.manifest, problem="; ".join(wrong) or None)
        if wrong:
            problems.append(_problem(services, backup, wrong))
            services.log.error(problems[-1])
    services.log.info(
        f"{len(listed)} backup(s): {files} object(s) read, {size_text(size)}, {len(problems)} backup(s) with "
        "problems" + (f"; every file is read within {sample.rounds} day(s)" if sample.rounds else "")
    )
    return Found(
        problems=tuple(problems),
        facts={"backups": len(listed), "objects": files, "bytes": size, "with_problems": len(problems)},
    )


def _read(services: Services, backup: StoredBackup, chosen: Iterable[BackupFile]) -> list[str]:
    manifest, vault = backup.manifest, services.vault
    wrong = []
    try:
        if not _is_the_manifest(vault.get(manifest.path), manifest):
            wrong.append(f"{vault.uri(manifest.path)} is not what the ledger says was written")
    except DataError:
        wrong.append(f"{vault.uri(manifest.path)} is gone")
    for file in chosen:
        try:
            size, sha256 = vault.digest(file.path)
        except DataError:
            wrong.append(f"{vault.uri(file.path)} is gone")
            continue
        if (size, sha256) != (file.size, file.sha256):
            wrong.append(
                f"{vault.uri(file.path)} reads as {size} bytes, SHA-256 {sha256[:12]}…, and was written as "
                f"{file.size} bytes, {file.sha256[:12]}…"
            )
    return wrong


def _is_the_manifest(kept: bytes, manifest: Manifest) -> bool:
    """Whether these bytes say what the ledger knows; an older version of Lockstep may have said less."""
    known = json.loads(manifest_json(manifest))
    try:
        said = json.loads(kept)
    except ValueError:
        return False
    return (
        isinstance(said, dict)
        and "files" in said
        and all(name in known and known[name] == value for name, value in said.items())
    )


def _went(services: Services, header: StoredBackup) -> bool:
    """Whether the backup is being removed, or was, since the list was read."""
    now = whole(services, header)
    return now.removed_at is not None or now.problem == GOING


def _says_more(
    header: StoredBackup, files: tuple[BackupFile, ...], chosen: list[BackupFile], wrong: list[str]
) -> bool:
    """Whether this reading may replace what the last one found: a sample that is well does not clear a problem.

    The file that was at fault may be one that today's sample leaves out.
    """
    return bool(wrong) or header.problem is None or len(chosen) == len(files)


def _problem(services: Services, backup: StoredBackup, wrong: list[str]) -> str:
    manifest = backup.manifest
    more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
    return (
        f"the backup of {manifest.conn_id} by run {manifest.run_id} (revision {backup.revision}) cannot be relied on: "
        f"{'; '.join(wrong[:3])}{more}. Bring the objects back from the bucket's versions or its replica, then run "
        "housekeeping again with check_percent = 100; look at the bucket's storage and at who writes to it. Until "
        "then this backup counts for no retention."
    )
