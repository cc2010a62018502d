"""What would run, in which order and why, before anything does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Literal

from lockstep.domain.approval import Allowed, Mark
from lockstep.domain.linting.finding import Finding
from lockstep.domain.locking import Locks, locks_of
from lockstep.domain.looking import Size
from lockstep.domain.operations.base import Operation, Statements
from lockstep.domain.operations.drop_column import DropColumn
from lockstep.domain.operations.drop_table import DropTable
from lockstep.domain.operations.restore import Restore
from lockstep.domain.operations.rewrite_table import RewriteTable
from lockstep.domain.rehearsal import Prediction, Verdict
from lockstep.domain.resources import Postgres
from lockstep.domain.revision import Direction, Revision

#: strong: everybody else on the table queues behind it · weak: readers and writers go on · rows: of rows alone ·
#: none: this store has none
Lock = Literal["strong", "weak", "rows", "none"]

_NAMES: dict[Locks, Lock] = {Locks.STRONG: "strong", Locks.CONCURRENT: "weak", Locks.PLAIN: "rows"}


def lock_of(operation: Operation) -> Lock:
    """Return the class of lock that an operation takes, the strongest of its statements."""
    if isinstance(operation, Statements):
        return _NAMES[min(map(locks_of, operation.statements), key=lambda kind: kind.value)]
    if not isinstance(operation.database, Postgres):
        return "none"
    return "strong" if isinstance(operation, (DropTable, DropColumn, RewriteTable, Restore)) else "rows"


class State(str, Enum):
    """What a check comes to."""

    OK = "ok"
    #: worth a look; nothing is refused for it
    WARNING = "warning"
    REFUSED = "refused"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at before anything starts."""

    check: str
    #: the connection id, or what else it is about
    place: str
    state: State
    words: str
    #: whether it may be otherwise a moment later
    transient: bool = False

    def __str__(self) -> str:
        return f"{self.check}, {self.place}: {self.state}. {self.words}"


@dataclass(frozen=True, kw_only=True)
class PlannedOperation:
    """One operation of a revision, as it would run."""

    number: int
    what: str
    lock: Lock
    batched: bool
    #: whether only the journal knows what it overwrites
    lossy: bool
    #: how it is taken back, in words
    way_back: str
    resources: tuple[str, ...]
    #: records of its resources: as many may be touched, or fewer
    records: int | None
    #: whether there are at least so many
    least: bool = False

    def __str__(self) -> str:
        count = "nobody knows how many" if self.records is None else f"{self.records:,}"
        least = "at least " if self.least else "about "
        lock = "no lock" if self.lock == "none" else f"locks: {self.lock}"
        said = f"{self.number}. {self.what} ({lock}; {least if self.records else ''}{count} record(s) there"
        return f"{said}{'; lossy' if self.lossy else ''})"


@dataclass(frozen=True, kw_only=True)
class PlannedBackup:
    """A backup that would be taken first."""

    conn_id: str
    resources: tuple[str, ...]
    #: of the data on its server: a backup is compressed, and smaller
    bytes: int | None

    def __str__(self) -> str:
        size = "of unknown size" if self.bytes is None else f"{self.bytes:,} bytes on its server"
        return f"backup of {self.conn_id} ({', '.join(self.resources)}): {size}"


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """The last rehearsal of a revision."""

    id: str
    verdict: Verdict | None
    #: whether it tried the file as it is now
    current: bool
    ended_at: datetime | None = None
    report_sha256: str | None = None
    #: where its report can be read
    url: str | None = None
    #: why its report is of no use
    problem: str | None = None

    def __str__(self) -> str:
        if self.problem:
            return f"rehearsal {self.id}: {self.problem}"
        of = "" if self.current else " of the file as it was before an edit"
        at = f", {self.ended_at:%Y-%m-%d %H:%M} UTC" if self.ended_at else ""
        return f"rehearsal {self.id}{of}: {self.verdict or 'goes on'}{at}" + (
            f" ({self.url})" if self.url else ""
        )


@dataclass(frozen=True, kw_only=True)
class PlannedRevision:
    """One revision that would move a step."""

    revision: str
    description: str
    direction: Direction
    dag_id: str
    #: SHA-256 of its file, and of what would be done (`digest_of`)
    checksum: str
    plan_sha256: str
    transaction: str
    operations: tuple[PlannedOperation, ...]
    backups: tuple[PlannedBackup, ...]
    #: seconds on the live data; None where no green rehearsal of this very file says so
    predicted: Prediction | None
    rehearsal: Rehearsed | None
    findings: tuple[Finding, ...]
    approval: Allowed
    #: what a downgrade of it would do now, in words: of one that goes down
    readiness: tuple[str, ...] = ()

    @property
    def size(self) -> Size:
        """About how many records its operations concern, each resource once."""
        counted = {name: op for op in self.operations for name in op.resources}
        ops = list({id(op): op for op in counted.values()}.values())
        known = [op.records for op in ops]
        total = None if None in known else sum(count or 0 for count in known)
        return Size(records=total, least=any(op.least for op in ops))

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        found: dict[str, Any] = _plain(_revision(self))
        return found

    @property
    def mark(self) -> Mark:
        """What an approval of it is bound to."""
        shown = self.rehearsal if self.rehearsal and self.rehearsal.current else None
        bound = shown if shown and shown.report_sha256 and not shown.problem else None
        return Mark(
            revision=self.revision,
            direction=self.direction,
            checksum=self.checksum,
            plan_sha256=self.plan_sha256,
            rehearsal_id=bound.id if bound else None,
            report_sha256=bound.report_sha256 if bound else None,
        )

    def lines(self) -> Iterator[str]:
        """Say it to a person, a line at a time."""
        yield f"{self.direction} {self.revision}: {self.description}"
        yield from map(str, self.operations)
        if not self.operations:
            yield "no operation: only the ledger changes"
        yield from map(str, self.backups)
        if self.predicted:
            one = self.predicted
            yield f"expected to take {one.seconds:.1f} s ({one.low:.1f} to {one.high:.1f} s)"
        elif self.direction == "upgrade":
            yield "no green rehearsal of this file says how long it takes"
        yield str(self.rehearsal) if self.rehearsal else "never rehearsed"
        for finding in self.findings:
            yield f"lint: {finding}"
        yield from self.readiness
        yield f"approval: {self.approval}"


def digest_of(revision: Revision, direction: Direction) -> str:
    """Return the SHA-256 of what a revision would do in a direction, as its operations say it.

    It also changes where the file does not: where what it imports declares another table, for example.
    """
    told = {
        "revision": revision.id,
        "direction": direction,
        "checksum": revision.checksum,
        "transaction": revision.transaction,
        "operations": [[op.describe(), list(map(str, op.writes))] for op in revision.operations(direction)],
        "touched": sorted(map(str, revision.touched)),
    }
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that would run on the way to a target."""

    target: str
    direction: Direction
    environment: str
    revisions: tuple[PlannedRevision, ...]
    checks: tuple[Check, ...] = ()

    def lines(self) -> Iterator[str]:
        """Say it to a person, a line at a time; what belongs to a revision stands under it."""
        if not self.revisions:
            yield f"nothing to do: the chain is at {self.target!r} already"
        for one in self.revisions:
            first, *rest = one.lines()
            yield first
            yield from (f"  {line}" for line in rest)
        yield from map(str, self.checks)

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values: `plan` is a list of revisions, `checks` a list beside it."""
        found: dict[str, Any] = _plain(
            {
                "target": self.target,
                "direction": self.direction,
                "environment": self.environment,
                "plan": [_revision(one) for one in self.revisions],
                "checks": [asdict(check) for check in self.checks],
            }
        )
        return found


def _revision(one: PlannedRevision) -> dict[str, Any]:
    told = asdict(one)
    allowed = one.approval
    told["mark"] = asdict(one.mark)
    told["lines"] = list(one.lines())
    told["approval"] = {
        "state": allowed.state,
        "needed": allowed.state.value != "not needed",
        "why": allowed.why,
        "by": allowed.approval.by if allowed.approval else None,
        "at": allowed.approval.at if allowed.approval else None,
    }
    return told


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it; times as ISO 8601."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value
