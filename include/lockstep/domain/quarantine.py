"""A record that a run leaves as it was, since its function or its server refused it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Quarantined:
    """One record that cannot be carried."""

    #: its place in the key order: text that only the store which made it can compare
    key: str
    #: the key as people write it
    shown: str
    #: why: one sentence
    error: str


@dataclass(frozen=True, kw_only=True)
class QuarantinedRecord:
    """The same as the ledger lists it."""

    run_id: str
    step: int
    shard: int
    #: connection id and slug of the resource that it is in
    conn_id: str
    resource: str
    record: Quarantined
    at: datetime
    #: the run that carried it later; None while it still waits
    resolved_by: str | None = None
