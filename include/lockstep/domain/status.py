"""The states of a revision in one environment, and the only ways from one to the next."""

from __future__ import annotations

from enum import Enum

from lockstep.domain.errors import Refused


class Status(str, Enum):
    """What `_migrations.status` says."""

    PENDING = "pending"
    UPGRADING = "upgrading"
    APPLIED = "applied"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"

    def __str__(self) -> str:
        return self.value


class RunStatus(str, Enum):
    """What one run came to. A run is one attempt to move one revision one step."""

    OPEN = "open"
    APPLIED = "applied"
    #: applied, but for the records that the ledger lists
    APPLIED_WITH_QUARANTINE = "applied_with_quarantine"
    ROLLED_BACK = "rolled_back"
    DOWNGRADED = "downgraded"
    #: a backup was put back
    RESTORED = "restored"
    #: ended before it changed anything
    STOPPED = "stopped"
    FAILED = "failed"
    NOTHING_TO_DO = "nothing_to_do"
    #: the databases were at the revision before Lockstep knew them
    BASELINED = "baselined"
    #: left half-way or failed, and a person decided what became of it; also the run of that decision
    REPAIRED = "repaired"
    #: a person accepted that the file of an applied revision was edited
    CHECKSUM_ACCEPTED = "checksum_accepted"

    def __str__(self) -> str:
        return self.value


#: from → to → the reason that the history records unless there is a better one
EDGES: dict[Status, dict[Status, str]] = {
    Status.PENDING: {
        Status.UPGRADING: "the backup is proven, the first operation may start",
        Status.APPLIED: "the databases were at it already: a person adopted them by a baseline",
    },
    Status.ROLLED_BACK: {
        Status.UPGRADING: "tried again: the backup is proven, the first operation may start",
        Status.APPLIED: "a backup of the time when it was applied was put back",
    },
    Status.UPGRADING: {
        Status.APPLIED: "every operation is done and the verification holds",
        Status.ROLLING_BACK: "an operation or the verification failed, what was done is being undone",
        Status.FAILED: "an operation failed and nothing could be undone",
    },
    Status.APPLIED: {
        Status.ROLLING_BACK: "a downgrade was asked for, and its backup is proven",
        Status.UPGRADING: "the records in quarantine are tried again, and the backup is proven",
    },
    Status.ROLLING_BACK: {
        Status.ROLLED_BACK: "what was done is undone, and compared with what it was",
        Status.FAILED: "the downgrade failed, or what it left differs from what was there",
        Status.APPLIED: "trying the records in quarantine again failed, and what it did is undone",
    },
    Status.FAILED: {
        Status.UPGRADING: "a person resumed the run where it stopped",
        Status.ROLLING_BACK: "a person resumed the undo where it stopped",
    },
}


def reason_for(revision: str, current: Status, wanted: Status) -> str:
    """Return the reason of an edge; raise Refused where there is none."""
    reason = EDGES[current].get(wanted)
    if reason is None:
        ways = ", ".join(EDGES[current]) or "nothing"
        raise Refused(
            f"revision {revision!r} is {current} and cannot become {wanted}; from here it can become {ways}.",
            revision=revision,
            current=current.value,
            wanted=wanted.value,
        )
    return reason


#: statuses that leave a run half-way: no other run may start
UNSETTLED = frozenset({Status.UPGRADING, Status.ROLLING_BACK, Status.FAILED})
