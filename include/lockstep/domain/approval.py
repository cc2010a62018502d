"""Which revisions a person has to allow, and what their word is bound to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from lockstep.domain.destroying import destroyed
from lockstep.domain.environment import Environment
from lockstep.domain.operations.base import Operation, Statements, WayBack
from lockstep.domain.operations.restore import Restore
from lockstep.domain.revision import Direction
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus

#: what a person may say
APPROVE = "Approve"
REJECT = "Reject"
#: ends of a run that use an approval up: the next run of that revision is asked about anew
_USED_UP = frozenset(
    {
        RunStatus.APPLIED,
        RunStatus.APPLIED_WITH_QUARANTINE,
        RunStatus.DOWNGRADED,
        RunStatus.ROLLED_BACK,
    }
)


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What an approval is bound to: SHA-256, hexadecimal."""

    revision: str
    direction: Direction
    #: of the revision's file
    checksum: str
    #: of the plan that is shown, without what is only estimated
    plan_sha256: str
    #: the rehearsal that is shown, and the digest of its report; None where there is none
    rehearsal_id: str | None = None
    report_sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A row of the ledger: somebody's yes."""

    mark: Mark
    environment: str
    policy: str
    by: str
    dag_id: str
    dag_run_id: str
    #: of the row; 0 before it is kept
    id: int = 0
    #: on the ledger's clock
    at: datetime | None = None
    voided_at: datetime | None = None
    voided_why: str | None = None

    def used_up_by(self, runs: Iterable[Run]) -> Run | None:
        """Return the run that this approval was for and that has ended; None while it still counts."""
        mark = self.mark
        for run in runs:
            same = (run.revision, run.direction) == (mark.revision, mark.direction)
            if same and run.status in _USED_UP and self.at is not None and run.started_at >= self.at:
                return run
        return None


class Standing(str, Enum):
    """How things are with the approval of one revision."""

    NOT_NEEDED = "not needed"
    NEEDED = "needed"
    APPROVED = "approved"
    #: it was given, and what it was bound to has changed since
    VOID = "void"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What a plan says of a revision's approval."""

    state: Standing
    #: why it is needed, or why it counts no more
    why: str = ""
    #: the approval that counts, or that does no more
    approval: Approval | None = None

    def __str__(self) -> str:
        if self.state is Standing.APPROVED and self.approval is not None:
            at = f" at {self.approval.at:%Y-%m-%d %H:%M} UTC" if self.approval.at else ""
            return f"approved by {self.approval.by}{at}"
        return f"{self.state}: {self.why}" if self.why else str(self.state)


def why_asked(
    environment: Environment,
    operations: Iterable[Operation],
    *,
    direction: Direction,
    records: int | None,
    at_least: bool = False,
) -> str | None:
    """Return why a person has to allow these operations in an environment; None where nobody is asked.

    `records`: how many they concern, about, or `at_least`; None where nobody knows.
    """
    policy = f"{environment.name} asks"
    if environment.approve == "all":
        return f"{policy} for every revision"
    if environment.approve == "lossy":
        reasons = list(lossy_in(operations, direction))
        return f"{policy} for what overwrites or takes away data: {'; '.join(reasons)}" if reasons else None
    if environment.approve == "above":
        limit = environment.approve_above or 0
        if records is None:
            return f"{policy} above {limit} records, and nobody knows how many these are"
        if records > limit:
            least = "at least " if at_least else "about "
            return f"{policy} above {limit} records, and these are {least}{records}"
    return None


def lossy_in(operations: Iterable[Operation], direction: Direction) -> Iterable[str]:
    """Yield what overwrites data, or takes it away, in words."""
    for operation in operations:
        if isinstance(operation, Statements):
            for text in operation.statements:
                yield from map(str, destroyed(text))
        elif isinstance(operation, Restore):
            yield operation.describe()
        elif operation.lossy or operation.way_back in (WayBack.PARKED, WayBack.NONE):
            yield operation.title
