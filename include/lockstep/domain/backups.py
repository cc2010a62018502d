"""Backups as the ledger lists them, and how they can be proven."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from lockstep.domain.progress import Manifest
from lockstep.domain.run import Way
from lockstep.domain.status import RunStatus


class Proof(str, Enum):
    """How it is known that a backup can be restored."""

    #: read back: every file has the size and the SHA-256 that were written
    CHECKSUM = "checksum"
    #: that, and restored into a scratch space, where every resource had the fingerprint that it has in the manifest
    RESTORE = "restore"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class StoredBackup:
    """The backup of one database by one run."""

    manifest: Manifest
    #: the run's revision, direction and end
    revision: str
    way: Way
    run_status: RunStatus
    saved_at: datetime
    #: None where nobody proved it
    proof: Proof | None = None
    proven_at: datetime | None = None
    #: when housekeeping last read it, and what was wrong with it then
    checked_at: datetime | None = None
    problem: str | None = None
    #: when its files were removed from the vault; what the ledger says of it stays
    removed_at: datetime | None = None
