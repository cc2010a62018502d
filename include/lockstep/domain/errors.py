"""Every error that Lockstep raises on purpose.

LockstepError
├── DeclarationError            a revision file or a resource is declared wrongly
│   ├── ResourceError           a resource that cannot exist
│   ├── OperationError          an operation on the wrong thing, or with impossible arguments
│   ├── RevisionFault           one revision file that cannot be used
│   └── ChainFaults             all faults of one folder of revisions
├── Refused                     asked for something that must not be done now; nothing was changed
├── DataError                   a record that cannot be carried: not worth a retry
│   ├── RecordError             the same, with the record's key
│   ├── BadRecords              several of them, each with its place in the key order
│   └── ValueRefused            a value that the server does not take, of some record of the batch
├── QuarantineFull              more records failed than the run's budget allows
├── Held                        nothing failed: the work waits, and goes on later
├── ConflictError               a record is neither what it was nor what it was to become
├── VerificationFailed          the data is not what the revision promises
├── BackupNotProven             the backup does not match its manifest
├── StepsUnfinished             some operation of a direction is not done
├── NotAtTarget                 the run did not bring the database where it was asked to
├── NotDelivered                events did not reach a sink, and a person has to look
├── StaleEpoch                  another worker has taken over; this one wrote nothing
├── UndoFailed                  what was done could not be undone exactly
├── Unsupported                 this server lacks what the operation needs
└── Unavailable                 a server did not answer: worth a retry
    └── LockTimeout             a lock was not to be had: the whole transaction gave way
"""

from __future__ import annotations

from typing import Any

from lockstep.domain.quarantine import Quarantined


class LockstepError(Exception):
    """Carry fields and one sentence that says what, where and the next action."""

    #: whether the same call may succeed later, unchanged
    transient = False

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.fields))

    def __str__(self) -> str:
        return self.message


def _rebuild(kind: type[LockstepError], message: str, fields: dict[str, Any]) -> LockstepError:
    error = kind.__new__(kind)
    LockstepError.__init__(error, message, **fields)
    return error


class DeclarationError(LockstepError):
    """Something is declared wrongly; found before anything runs."""


class ResourceError(DeclarationError):
    """A resource that cannot exist."""


class OperationError(DeclarationError):
    """An operation on the wrong thing, or with impossible arguments."""


class RevisionFault(DeclarationError):
    """One revision file that cannot be used, and how to mend it."""

    def __init__(self, *, file: str, revision: str | None, problem: str, fix: str) -> None:
        named = f"revision {revision!r}" if revision else "revision unknown"
        super().__init__(
            f"{file} ({named}): {problem} Fix: {fix}",
            file=file,
            revision=revision,
            problem=problem,
            fix=fix,
        )
        self.file = file
        self.revision = revision
        self.problem = problem
        self.fix = fix


class ChainFaults(DeclarationError):
    """All faults of one folder of revisions."""

    def __init__(self, faults: tuple[RevisionFault, ...]) -> None:
        lines = "\n".join(f"  * {fault}" for fault in faults)
        super().__init__(f"{len(faults)} revision file(s) cannot be used:\n{lines}", faults=faults)
        self.faults = faults


class Refused(LockstepError):
    """Asked for something that must not be done now; nothing was changed."""


class DataError(LockstepError):
    """A record that cannot be carried: a retry would meet the same record."""


class RecordError(DataError):
    """A function of the revision failed on one record."""

    def __init__(self, *, resource: str, key: object, problem: str, fix: str) -> None:
        super().__init__(
            f"{resource}, record {key!r}: {problem} Fix: {fix}",
            resource=resource,
            key=str(key),
            problem=problem,
            fix=fix,
        )
        self.resource = resource
        self.key = key
        self.problem = problem


class ValueRefused(DataError):
    """The server does not take a value: some record of the batch is to blame, and it does not say which."""


class BadRecords(DataError):
    """Records that cannot be carried, each known by its place in the key order."""

    def __init__(self, *, resource: str, records: tuple[Quarantined, ...]) -> None:
        first = records[0]
        more = f" and {len(records) - 1} more" if len(records) > 1 else ""
        super().__init__(
            f"{resource}, record {first.shown}{more}: {first.error}",
            resource=resource,
            keys=tuple(record.shown for record in records),
        )
        self.resource = resource
        self.records = records


class QuarantineFull(LockstepError):
    """More records failed than the run's budget allows."""


class Held(LockstepError):
    """Nothing failed: a pause, a window or a signal holds the work, which goes on later where it stopped.

    `seconds`: how long to wait before asking again.
    """

    def __init__(self, reason: str, *, seconds: float) -> None:
        super().__init__(reason, seconds=seconds)

    @property
    def reason(self) -> str:
        return self.message

    @property
    def seconds(self) -> float:
        return float(self.fields["seconds"])


class ConflictError(LockstepError):
    """A record is neither what it was nor what it was to become: somebody else wrote it."""

    def __init__(self, *, resource: str, keys: tuple[str, ...], doing: str) -> None:
        shown = ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
        super().__init__(
            f"{resource}: {len(keys)} record(s) changed under the run while {doing}: {shown}. "
            "Stop what else writes to it, look at these records, then clear the failed task to go on.",
            resource=resource,
            keys=keys,
            doing=doing,
        )
        self.keys = keys


class VerificationFailed(LockstepError):
    """The data is not what the revision promises."""


class BackupNotProven(LockstepError):
    """The backup does not match its manifest."""


class StepsUnfinished(LockstepError):
    """Some operation of a direction is not done."""


class NotAtTarget(LockstepError):
    """The run did not bring the database where it was asked to."""


class NotDelivered(LockstepError):
    """Events did not reach a sink, and time alone does not mend it."""


class StaleEpoch(LockstepError):
    """Another worker has taken over; this one wrote nothing more."""


class UndoFailed(LockstepError):
    """What was done could not be undone exactly."""


class Unsupported(LockstepError):
    """This server lacks what the operation needs."""


class Unavailable(LockstepError):
    """A server did not answer, or lost what it was doing."""

    transient = True


class LockTimeout(Unavailable):
    """A lock was not to be had: the whole transaction gave way, so that nobody queues behind it."""
