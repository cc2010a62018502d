"""Read what reached Yapper, as its subscribers would."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

# The events after one, each with who has not read it yet.
EVENTS = """
    SELECT e.id, e.label, e.data, array_remove(array_agg(u.client_id ORDER BY u.client_id), NULL) AS unread_by
    FROM events e LEFT JOIN unread u ON u.event_id = e.id AND u.label = e.label
    WHERE e.id > %s GROUP BY e.id ORDER BY e.id
"""
LAST = "SELECT coalesce(max(id), 0) FROM events"
SUBSCRIBERS = "SELECT client_id FROM subscriptions WHERE label = %s ORDER BY client_id"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One event in Yapper's tables."""

    id: int
    label: str
    #: JSON
    data: str
    unread_by: tuple[str, ...]


def last_event(uri: str) -> int:
    """Return the id of the newest event, or 0."""
    with psycopg.connect(uri) as connection:
        row = connection.execute(LAST).fetchone()
        return 0 if row is None else int(row[0])


def events_after(uri: str, last: int) -> list[Heard]:
    """Return the events that came after one."""
    with psycopg.connect(uri, row_factory=dict_row) as connection:
        return [_heard(row) for row in connection.execute(EVENTS, [last])]


def subscribers(uri: str, label: str) -> tuple[str, ...]:
    """Return who listens to a label."""
    with psycopg.connect(uri) as connection:
        return tuple(client for (client,) in connection.execute(SUBSCRIBERS, [label]))


def _heard(row: dict[str, Any]) -> Heard:
    return Heard(id=row["id"], label=row["label"], data=row["data"], unread_by=tuple(row["unread_by"]))
