"""The append-only history: each entry is sealed by the hash of the one before it, as `lockstep.domain.history` says.

`_migration_chain` holds the last id and hash, so that a missing tail is seen too; `_migration_segments` lists what of
it lies in the vault.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.history import BrokenLink, Head, Segment, broken_end, head_of, seal
from lockstep.domain.history import broken_link as broken_at
from lockstep.stores.ledger.connect import Connections, Db
from lockstep.stores.ledger.plain import dumps, plain, text

# The end of the chain, locked by the unit; the clock after that lock; the detail as PostgreSQL keeps it.
_END = """
    SELECT last_id, last_hash, clock_timestamp() AS at, %s::jsonb AS detail FROM _migration_chain
"""
# One entry.
_APPEND = """
    INSERT INTO _migration_history
        (id, at, revision, run_id, kind, from_status, to_status, reason, who, detail, prev_hash, hash)
    VALUES (%(id)s, %(at)s, %(revision)s, %(run_id)s, %(kind)s, %(from_status)s, %(to_status)s, %(reason)s,
            %(who)s, %(detail)s::jsonb, %(prev_hash)s, %(hash)s)
"""
# The chain's new end.
_MOVE_END = "UPDATE _migration_chain SET last_id = %s, last_hash = %s"
# Entries after an id, a page at a time.
_PAGE = "SELECT * FROM _migration_history WHERE id > %s ORDER BY id LIMIT %s"
# Where the chain ends.
_HEAD = "SELECT last_id, last_hash FROM _migration_chain"
# What of the history lies in the vault.
_SEGMENTS = (
    "SELECT path, first_id, last_id, last_hash, sha256 FROM _migration_segments ORDER BY first_id, last_id"
)
# How far the history lies in the vault.
_ARCHIVED = "SELECT coalesce(max(last_id), 0) AS last_id FROM _migration_segments"
# One more segment; written by two at once it is the same.
_ADD_SEGMENT = """
    INSERT INTO _migration_segments (path, first_id, last_id, last_hash, sha256) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (path) DO NOTHING
"""
# A revision's entries, or all.
_READ = """
    SELECT * FROM _migration_history
    WHERE %(revision)s::text IS NULL OR revision = %(revision)s ORDER BY id
"""

#: entries of a page
PAGE = 1000
_TEXTS = ("revision", "run_id", "kind", "from_status", "to_status", "reason", "who")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is to be said of a change."""

    kind: str
    who: str
    revision: str | None = None
    run_id: str | None = None
    from_status: str | None = None
    to_status: str | None = None
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def append(db: Db, entry: Entry) -> datetime:
    """Append an entry, under the chain's lock; return its time on the ledger's clock."""
    end = db.execute(_END, [dumps(entry.detail)]).fetchone()
    if end is None:
        raise LockstepError("the ledger has lost the row of _migration_chain. Restore the ledger.")
    said = {name: getattr(entry, name) for name in _TEXTS}
    row = {name: None if value is None else text(value) for name, value in said.items()}
    row |= {
        "id": end["last_id"] + 1,
        "at": end["at"],
        "detail": end["detail"],
        "prev_hash": end["last_hash"],
    }
    sealed = seal(plain(row))
    db.execute(_APPEND, {**row, "detail": dumps(end["detail"]), "hash": sealed})
    db.execute(_MOVE_END, [row["id"], sealed])
    at: datetime = end["at"]
    return at


def read(db: Db, revision: str | None) -> list[dict[str, Any]]:
    """Return entries as plain JSON, oldest first."""
    return [plain(row) for row in db.execute(_READ, {"revision": revision})]


def entries(db: Db, after: int, limit: int) -> list[dict[str, Any]]:
    """Return the entries that follow an id as plain JSON, oldest first."""
    return [plain(row) for row in db.execute(_PAGE, [after, limit])]


def head(db: Db) -> Head:
    """Return where the chain ends."""
    row = db.execute(_HEAD).fetchone()
    return Head() if row is None else Head(id=row["last_id"], hash=row["last_hash"])


def verify(connections: Connections) -> BrokenLink | None:
    """Recompute the chain, a page at a time, in one snapshot; return the first broken link, or None."""
    with connections.transaction(isolation="REPEATABLE READ READ ONLY") as db:
        end = head(db)
        last = Head()
        while page := entries(db, last.id, PAGE):
            for entry in page:
                broken = broken_at(entry, last)
                if broken is not None:
                    return broken
                last = head_of(entry)
        return broken_end(last, end)


def segments(db: Db) -> list[Segment]:
    """Return what of the history was put into the vault, in order."""
    return [
        Segment(
            path=row["path"],
            first=row["first_id"],
            head=Head(id=row["last_id"], hash=row["last_hash"]),
            sha256=row["sha256"],
        )
        for row in db.execute(_SEGMENTS)
    ]


def archived(db: Db) -> int:
    """Return the id of the last entry that was put into the vault."""
    row = db.execute(_ARCHIVED).fetchone()
    return int(row["last_id"]) if row else 0


def add_segment(db: Db, segment: Segment) -> None:
    db.execute(
        _ADD_SEGMENT, [segment.path, segment.first, segment.head.id, segment.head.hash, segment.sha256]
    )
