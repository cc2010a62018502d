"""Who may write, how far they got, and what they saw: the values that stores and ledger exchange."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

#: upgrade: forward · downgrade: asked for · undo: the failure branch taking back an upgrade
Phase = Literal["upgrade", "downgrade", "undo"]

#: A place in a resource's key order, as text that only the store which made it can compare.
Cursor = str


@dataclass(frozen=True, kw_only=True)
class KeyRange:
    """A half-open range of keys, `(lower, upper]`; None is unbounded on that side."""

    lower: Cursor | None = None
    upper: Cursor | None = None
    #: for people: such as "uid-a… to uid-m…"
    label: str = "all"
    #: only these keys of the range; None for all of it
    keys: tuple[Cursor, ...] | None = None
    #: about how many records it holds; None where nobody counted or sampled
    estimate: int | None = None


@dataclass(frozen=True, kw_only=True)
class Fence:
    """Who writes: every commit is checked against the epoch, so that a worker taken over writes nothing."""

    run_id: str
    phase: Phase
    step: int
    shard: int
    epoch: int

    def __str__(self) -> str:
        return f"run {self.run_id}, {self.phase} step {self.step}, shard {self.shard}, epoch {self.epoch}"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a shard got. Counts are totals since the shard began, over all attempts."""

    cursor: Cursor | None = None
    batches: int = 0
    read: int = 0
    written: int = 0
    inserted: int = 0
    #: left as they were, and listed
    quarantined: int = 0
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class Page:
    """Records in key order, and the cursor after the last of them."""

    records: tuple[Any, ...]
    cursor: Cursor | None
    #: nothing follows within the range
    last: bool
    #: bytes that the records took on the wire; 0 where the store does not know
    size: int = 0
    #: the version of each record that was read without a lock, for the store; empty where nobody asked
    stamps: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """What a resource held: equal fingerprints mean equal content, whatever the physical order."""

    #: whether the resource exists at all
    present: bool
    count: int = 0
    #: of the keys alone
    keys: str = ""
    #: of whole records
    content: str = ""
    #: of columns, types, constraints and indexes, or of indexes and validator
    shape: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "present": self.present,
            "count": self.count,
            "keys": self.keys,
            "content": self.content,
            "shape": self.shape,
        }

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> Fingerprint:
        return Fingerprint(**given)

    def differs_from(self, other: Fingerprint) -> str | None:
        """Say how this differs from what was there before, or None where it does not."""
        if self.present != other.present:
            return "it exists now and did not before" if self.present else "it is gone"
        for part, word in (
            ("count", "records"),
            ("keys", "keys"),
            ("content", "content"),
            ("shape", "shape"),
        ):
            now, then = getattr(self, part), getattr(other, part)
            if now != then:
                detail = f" ({then} before, {now} now)" if part == "count" else ""
                return f"its {word} differ{'' if word in ('records', 'keys') else 's'}{detail}"
        return None


@dataclass(frozen=True, kw_only=True)
class Change:
    """One record's way through a journaled batch. None means: not there."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, kw_only=True)
class BackupFile:
    """One object of a backup."""

    #: key in the vault's bucket
    path: str
    #: bytes
    size: int
    sha256: str
    #: what it holds, such as "postgres archive", "documents", "metadata", "object"
    holds: str
    count: int | None = None


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a backup of one database holds, so that it can be proven and restored."""

    run_id: str
    conn_id: str
    kind: str
    #: key of the manifest itself in the vault's bucket
    path: str
    taken_at: datetime
    files: tuple[BackupFile, ...]
    #: resource slug → what it held
    fingerprints: Mapping[str, Fingerprint] = field(default_factory=dict)
    #: tool and server versions
    made_by: Mapping[str, str] = field(default_factory=dict)
    #: what was one snapshot, and what could change while it was read
    consistency: str = ""
    #: resource slug → path of the earlier manifest whose files are used again, since nothing had changed
    reuses: Mapping[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)
