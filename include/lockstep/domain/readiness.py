"""What a downgrade of an applied revision would do now, and what it would lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from lockstep.domain.backups import Proof


@dataclass(frozen=True, kw_only=True)
class Writes:
    """How many rows of a table were ever written, as its server counts: inserted, updated and deleted."""

    rows: int
    #: what the count is of: two counts with different marks have nothing to do with each other
    mark: str


@dataclass(frozen=True, kw_only=True)
class Written:
    """What others than the revisions wrote to a resource since a revision was applied."""

    resource: str
    #: None where nobody knows
    records: int | None
    #: whether it is just that many, and not at least
    exact: bool = True
    #: why nobody knows, or what else is to be said of the number
    remark: str = ""

    def __str__(self) -> str:
        if self.records is None:
            return f"{self.resource}: nobody knows how much was written since: {self.remark}"
        least = "" if self.exact else "at least "
        return f"{self.resource}: {least}{self.records} record(s) written since" + (
            f", {self.remark}" if self.remark else ""
        )


@dataclass(frozen=True, kw_only=True)
class StepDown:
    """One operation of downgrade(), and what becomes of the data under it."""

    #: from 1
    number: int
    what: str
    #: where it gets former values from, or keeps what it takes away
    keeps: str
    #: what would be gone for good; None for nothing
    loses: str | None = None
    #: records of which something would be gone; None where nobody knows
    records: int | None = 0

    def __str__(self) -> str:
        loses = f" LOSES {self.loses}" if self.loses else ""
        return f"downgrade {self.number}: {self.what}; {self.keeps}.{loses}"


@dataclass(frozen=True, kw_only=True)
class KeptBackup:
    """A backup that was taken before the revision was applied."""

    conn_id: str
    uri: str
    bytes: int
    age_seconds: float
    proof: Proof | None
    #: what was wrong with it when it was last read
    problem: str | None = None
    removed_at: datetime | None = None

    def __str__(self) -> str:
        if self.removed_at is not None:
            return f"backup of {self.conn_id}: removed at {self.removed_at:%Y-%m-%d %H:%M} UTC"
        proven = f"proven by {self.proof}" if self.proof else "never proven"
        wrong = f", CANNOT BE READ: {self.problem}" if self.problem else ""
        return f"backup of {self.conn_id}: {self.bytes} bytes, {_age(self.age_seconds)} old, {proven}{wrong} ({self.uri})"


@dataclass(frozen=True, kw_only=True)
class Readiness:
    """What a downgrade of one applied revision would do now."""

    revision: str
    description: str
    #: the run that applied it; None where the ledger does not know
    run_id: str | None
    applied_at: datetime | None
    steps: tuple[StepDown, ...]
    written: tuple[Written, ...]
    backups: tuple[KeptBackup, ...]

    @property
    def losses(self) -> tuple[StepDown, ...]:
        return tuple(step for step in self.steps if step.loses)

    @property
    def lossy(self) -> bool:
        """Whether a downgrade now would lose something for good."""
        return bool(self.losses)

    def lines(self) -> Iterator[str]:
        """Say it to a person, a line at a time."""
        since = f"applied at {self.applied_at:%Y-%m-%d %H:%M} UTC" if self.applied_at else "applied"
        yield f"revision {self.revision} ({self.description}), {since}" + (": LOSSY" if self.lossy else "")
        yield from map(str, self.steps)
        yield from map(str, self.written)
        yield from map(str, self.backups)
        if not self.backups:
            yield "no backup of its run is known"


def _age(seconds: float) -> str:
    for unit, length in (("day(s)", 86_400), ("hour(s)", 3600), ("minute(s)", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} second(s)"
