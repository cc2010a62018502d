"""What Lockstep says to the world: the labels, and the payload that every sink is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from lockstep.domain.exchange import Event

#: of the payload; a field that goes, or means something else, makes it another one
VERSION = 1
#: the JSON Schema of the payload, in this package, and its name where the pages serve it
SCHEMA = f"migration.v{VERSION}.json"
#: every label that is ever said
LABELS = (
    "migration.started",
    "migration.backed_up",
    "migration.paused",
    "migration.resumed",
    "migration.applied",
    "migration.quarantined",
    "migration.rolled_back",
    "migration.failed",
    "migration.restored",
)


def payload(event: Event) -> dict[str, Any]:
    """Return an event as every sink tells it: plain JSON, `id` to deduplicate on, `at` in UTC."""
    at = event.at if event.at.tzinfo else event.at.replace(tzinfo=timezone.utc)
    ours = ("id", "label", "at")
    said = {name: value for name, value in event.data.items() if name not in ours}
    return {
        "id": event.id,
        "label": event.label,
        **said,
        "at": at.astimezone(timezone.utc).isoformat(),
    }


@dataclass(frozen=True, kw_only=True)
class Undelivered:
    """An event that did not arrive, and why."""

    event_id: str
    label: str
    run_id: str
    said: str
    #: the sink said no, which no time mends
    refused: bool
    #: tries so far, this one counted
    attempts: int
    #: when it happened
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Relayed:
    """What came of one round to one sink."""

    sink: str
    #: events that arrived
    delivered: int = 0
    #: events that the task of Airflow carries, if it ends well
    handed: int = 0
    #: events that failed now; those behind them in their run waited with them
    failures: tuple[Undelivered, ...] = ()
    #: events that wait after this round, the carried ones not counted, and since when the oldest does
    waiting: int = 0
    oldest: datetime | None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return what a log or a task's result shows of it."""
        found: dict[str, Any] = {"delivered": self.delivered, "waiting": self.waiting}
        if self.handed:
            found["handed"] = self.handed
        if self.failures:
            found["why"] = self.failures[0].said
        return found
