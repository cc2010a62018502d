"""A rehearsal: the plan to a target tried on a copy, and what it says of the real one."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from lockstep.domain.run import Caller

#: the source that means: a backup of the live databases, taken now
FRESH = "fresh"


class Verdict(str, Enum):
    """What a rehearsal came to."""

    GREEN = "green"
    RED = "red"
    #: it could not be carried through; nothing is said of the revisions
    STOPPED = "stopped"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Seconds that a revision's upgrade is expected to take on the live data, and the range of that."""

    seconds: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """One row of the ledger."""

    id: str
    target: str
    caller: Caller
    started_at: datetime
    ended_at: datetime | None = None
    #: None while it goes on
    verdict: Verdict | None = None
    #: revision → checksum of the file that was rehearsed
    revisions: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    #: key of the JSON report in the vault, and its SHA-256
    report_path: str | None = None
    report_sha256: str | None = None
    #: revision → prediction
    predicted: Mapping[str, Prediction] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """Where everything of it lies in the vault."""
        return folder_of(self.id)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a rehearsal had predicted for a run, and what it took. Seconds."""

    rehearsal_id: str
    run_id: str
    revision: str
    predicted: Prediction
    actual_seconds: float
    at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a rehearsal was asked for, besides its target."""

    #: FRESH, or the run whose backup is taken
    source: str = FRESH
    #: per cent of the records
    sample: float = 100
    #: records of each operation that the report shows, before and after; 0 for none
    samples: int = 10
    #: whether the scratch spaces stay, for a person to look into
    keep: bool = False
    #: whether a PostgreSQL database is copied whole, or only what revisions declare
    whole: bool = True


@dataclass(frozen=True, kw_only=True)
class HeldLock:
    """A lock of one transaction on one relation, for as long as it was seen."""

    relation: str
    #: in PostgreSQL's words, such as "AccessExclusiveLock"
    mode: str
    #: between the first and the last time that it was seen
    seconds: float
    #: what ran when it was first seen
    statement: str
    #: whom it keeps out: "readers and writers", "writers" or "other changes of its kind"
    keeps_out: str


def new_rehearsal_id(now: datetime) -> str:
    """Return an id that also fits into the names of scratch spaces."""
    return f"r{now:%y%m%d%H%M%S}{secrets.token_hex(2)}"


def folder_of(rehearsal_id: str) -> str:
    """Return the folder of a rehearsal in the vault."""
    return f"rehearsals/{rehearsal_id}"
