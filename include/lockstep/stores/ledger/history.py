"""The append-only history: each entry is sealed by the hash of the one before it.

hash = SHA-256 over the UTF-8 text of a JSON array, keys sorted, without spaces, non-ASCII as it is:
[prev_hash, id, at (ISO 8601, UTC), revision, run_id, kind, from_status, to_status, reason, who, detail].
The first entry's prev_hash is empty. `_migration_chain` holds the last id and hash, so that a missing tail
is seen too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.stores.ledger.connect import Connections, Db
from lockstep.stores.ledger.plain import dumps, iso, plain, text

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
_PAGE = "SELECT * FROM _migration_history WHERE id > %s ORDER BY id LIMIT 1000"
# A revision's entries, or all.
_READ = """
    SELECT * FROM _migration_history
    WHERE %(revision)s::text IS NULL OR revision = %(revision)s ORDER BY id
"""

_SEALED = ("revision", "run_id", "kind", "from_status", "to_status", "reason", "who")


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
    said = {name: getattr(entry, name) for name in _SEALED}
    row = {name: None if value is None else text(value) for name, value in said.items()}
    row |= {
        "id": end["last_id"] + 1,
        "at": end["at"],
        "detail": end["detail"],
        "prev_hash": end["last_hash"],
    }
    sealed = seal(row)
    db.execute(_APPEND, {**row, "detail": dumps(end["detail"]), "hash": sealed})
    db.execute(_MOVE_END, [row["id"], sealed])
    at: datetime = end["at"]
    return at


def seal(row: Mapping[str, Any]) -> str:
    """Return the hash of an entry."""
    canonical = [row["prev_hash"], row["id"], iso(row["at"]), *(row[name] for name in _SEALED), row["detail"]]
    return hashlib.sha256(dumps(canonical).encode()).hexdigest()


def read(db: Db, revision: str | None) -> list[dict[str, Any]]:
    """Return entries as plain JSON, oldest first."""
    return [plain(row) for row in db.execute(_READ, {"revision": revision})]


def verify(connections: Connections) -> str | None:
    """Recompute the chain, a page at a time, in one snapshot; return the first broken id, or None.

    An entry that is missing is named by its id too.
    """
    with connections.transaction(isolation="REPEATABLE READ READ ONLY") as db:
        end = db.execute("SELECT last_id, last_hash FROM _migration_chain").fetchone()
        last_id, last_hash = 0, ""
        while rows := db.execute(_PAGE, [last_id]).fetchall():
            for row in rows:
                expected = last_id + 1
                if row["id"] != expected:
                    return str(expected)
                if row["prev_hash"] != last_hash or row["hash"] != seal(row):
                    return str(row["id"])
                last_id, last_hash = row["id"], row["hash"]
        if end is None or end["last_id"] > last_id:
            return str(last_id + 1)
        if end["last_id"] < last_id or end["last_hash"] != last_hash:
            return str(last_id)
        return None
