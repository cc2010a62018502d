"""What a revision took out of use and keeps, so that a downgrade gets it back with its data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

ParkedKind = Literal["table", "column", "collection", "objects"]


@dataclass(frozen=True, kw_only=True)
class Parked:
    """One parked thing, as a store finds it; the ledger adds whose it is and when it went."""

    conn_id: str
    kind: ParkedKind
    #: what it was: "users", "users.nickname", "uploads/"
    resource: str
    #: what it is called now, in its own store; enough for the store to remove it
    parked_as: str
    parked_at: datetime
    run_id: str | None = None
    revision: str | None = None
    #: None where the store does not know
    bytes: int | None = None
    records: int | None = None
    gone_at: datetime | None = None
    #: "taken back", "removed after 30 days"
    gone_why: str | None = None
