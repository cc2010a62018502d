"""What stores hand to the engine, besides progress: parts of backups, outcomes of batches, events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockstep.domain.progress import Cursor, Fingerprint
from lockstep.domain.quarantine import Quarantined


@dataclass(frozen=True, kw_only=True)
class BackupPart:
    """One stream of a backup: read once, in order, then its count is known."""

    #: path below the backup's folder, such as "users.dump"
    name: str
    holds: str
    chunks: Callable[[], Iterator[bytes]]
    #: records in it, known after the chunks were read; None where it has no records of its own
    count: Callable[[], int | None] = lambda: None
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] | None = None
    #: resource slug → its fingerprint in the very state that was read, known after the chunks; None where the
    #: store has no snapshot of several reads
    fingerprints: Callable[[], Mapping[str, Fingerprint]] | None = None


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What came of writing changes."""

    written: int = 0
    #: records that already were what they were to become
    already: int = 0
    #: keys of records that are neither what they were nor what they were to become; left untouched
    conflicts: tuple[str, ...] = ()
    #: records that the server does not take (a validator, a size); left as they were
    refused: tuple[Quarantined, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Swept:
    """One batch of a set-based statement over a key range."""

    cursor: Cursor | None
    read: int
    written: int
    last: bool


@dataclass(frozen=True, kw_only=True)
class TakenBack:
    """One batch taken back from the journal."""

    restored: int
    conflicts: tuple[str, ...]
    last: bool


@dataclass(frozen=True, kw_only=True)
class Adopted:
    """What it took to make resources what they are in a backup."""

    #: records written, over all resources
    written: int = 0
    #: records taken away, since the backup has none of their key
    removed: int = 0
    #: resources whose shape was made anew
    reshaped: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Event:
    """What Lockstep says to the world: once it is in the outbox, it happened."""

    id: str
    #: such as "migration.applied"
    label: str
    data: Mapping[str, Any]
    at: datetime
