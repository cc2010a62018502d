"""A rehearsal: the plan to a target tried on a copy, and what it says of the real one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from lockstep.domain.run import Caller


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


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a rehearsal had predicted for a run, and what it took. Seconds."""

    rehearsal_id: str
    run_id: str
    revision: str
    predicted: Prediction
    actual_seconds: float
    at: datetime | None = None
