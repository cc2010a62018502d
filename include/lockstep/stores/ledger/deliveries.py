"""The rows of _migration_deliveries: what each sink has, is to get, and when it is tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.exchange import Event
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import utc

# Events that this sink's queue does not hold yet. Ids follow the order of commits, so that nothing is missed
# behind the highest one; what is older than the horizon is passed by.
_QUEUE = """
    INSERT INTO _migration_deliveries (sink, outbox_id, run_id)
    SELECT %(sink)s, o.id, o.run_id FROM _migration_outbox o
    WHERE o.id > coalesce((SELECT max(d.outbox_id) FROM _migration_deliveries d WHERE d.sink = %(sink)s), 0)
      AND (%(horizon)s::float8 IS NULL
           OR o.at > clock_timestamp() - make_interval(secs => %(horizon)s::float8))
    ORDER BY o.id
    ON CONFLICT DO NOTHING
"""
# The next event whose time has come and whose run has nothing earlier pending. What another relay has in hand is
# skipped, and with it what follows in that run, since it is still pending for every other transaction. An event
# that this very carrier has goes together with those behind it; one that another has must arrive first.
_NEXT = """
    SELECT d.outbox_id FROM _migration_deliveries d
    WHERE d.sink = %(sink)s AND d.delivered_at IS NULL AND d.handed_to IS NULL
      AND d.run_id <> ALL(%(stuck)s)
      AND (%(at_once)s OR d.next_try_at IS NULL OR d.next_try_at <= clock_timestamp())
      AND NOT EXISTS (
          SELECT FROM _migration_deliveries e
          WHERE e.sink = d.sink AND e.run_id = d.run_id AND e.outbox_id < d.outbox_id
            AND e.delivered_at IS NULL AND (e.handed_to IS NULL OR e.handed_to <> %(carrier)s)
      )
    ORDER BY d.outbox_id LIMIT 1 FOR UPDATE OF d SKIP LOCKED
"""
# One more attempt, known before it is made.
_COUNT = """
    UPDATE _migration_deliveries SET attempts = attempts + 1, tried_at = clock_timestamp()
    WHERE sink = %s AND outbox_id = %s
"""
# The event, if it is still to be delivered and no other relay has it in hand.
_HOLD = """
    SELECT attempts FROM _migration_deliveries
    WHERE sink = %s AND outbox_id = %s AND delivered_at IS NULL AND handed_to IS NULL FOR UPDATE SKIP LOCKED
"""
# What is to be said.
_EVENT = "SELECT event_id, run_id, label, data, at FROM _migration_outbox WHERE id = %s"
# It arrived.
_DELIVERED = """
    UPDATE _migration_deliveries SET
        delivered_at = clock_timestamp(), error = NULL, refused = false, next_try_at = NULL
    WHERE sink = %s AND outbox_id = %s
"""
# A task of Airflow has it, and brings it if it ends well.
_HANDED = """
    UPDATE _migration_deliveries SET
        handed_at = clock_timestamp(), handed_to = %s, error = NULL, refused = false, next_try_at = NULL
    WHERE sink = %s AND outbox_id = %s
"""
# What other carriers have, and whether one has had it for longer than it takes.
_CARRIED = """
    SELECT outbox_id, handed_at < clock_timestamp() - make_interval(secs => %(settles)s) AS overdue
    FROM _migration_deliveries
    WHERE sink = %(sink)s AND delivered_at IS NULL AND handed_to <> %(carrier)s
    ORDER BY outbox_id LIMIT 100 FOR UPDATE SKIP LOCKED
"""
# Its carrier did not bring it: it is queued again.
_TAKEN_BACK = """
    UPDATE _migration_deliveries SET handed_at = NULL, handed_to = NULL WHERE sink = %s AND outbox_id = %s
"""
# It did not arrive.
_FAILED = """
    UPDATE _migration_deliveries SET
        error = %(error)s, refused = %(refused)s,
        next_try_at = clock_timestamp() + make_interval(secs => %(seconds)s)
    WHERE sink = %(sink)s AND outbox_id = %(id)s AND delivered_at IS NULL
"""
# The sink answers again: what waits because it did not need not wait longer. What it refused stays refused.
_WAKE = """
    UPDATE _migration_deliveries SET next_try_at = NULL
    WHERE sink = %(sink)s AND outbox_id IN (
        SELECT outbox_id FROM _migration_deliveries
        WHERE sink = %(sink)s AND delivered_at IS NULL AND next_try_at IS NOT NULL AND NOT refused
        FOR UPDATE SKIP LOCKED
    )
"""
# Which sinks have something to get, or something that a carrier has.
_BUSY = """
    SELECT s.sink FROM unnest(%s::text[]) AS s (sink)
    WHERE EXISTS (SELECT FROM _migration_deliveries d WHERE d.sink = s.sink AND d.delivered_at IS NULL)
       OR (SELECT max(o.id) FROM _migration_outbox o) > coalesce(
           (SELECT max(d.outbox_id) FROM _migration_deliveries d WHERE d.sink = s.sink), 0)
"""
# What waits for one sink, and since when.
_STANDING = """
    SELECT count(*) AS waiting, min(o.at) AS oldest
    FROM _migration_deliveries d JOIN _migration_outbox o ON o.id = d.outbox_id
    WHERE d.sink = %s AND d.delivered_at IS NULL AND d.handed_to IS NULL
"""
# Events that one sink is still to get, queued or not.
_WAITING = """
    SELECT count(*) AS waiting FROM _migration_outbox o
    LEFT JOIN _migration_deliveries d ON d.sink = %s AND d.outbox_id = o.id
    WHERE d.delivered_at IS NULL AND d.handed_to IS NULL
"""
# Events that no sink has, or that a sink is still to get.
_PENDING = """
    SELECT count(*) AS pending FROM _migration_outbox o
    WHERE NOT EXISTS (SELECT FROM _migration_deliveries d WHERE d.outbox_id = o.id)
       OR EXISTS (
           SELECT FROM _migration_deliveries d
           WHERE d.outbox_id = o.id AND d.delivered_at IS NULL AND d.handed_to IS NULL
       )
"""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """An event that a task of Airflow has taken along."""

    outbox_id: int
    #: it has had the time that it takes
    overdue: bool


def queue(db: Db, sink: str, horizon: float | None) -> None:
    """Queue what the sink does not have yet; `horizon`: seconds after which an event is too old for it."""
    db.execute(_QUEUE, {"sink": sink, "horizon": horizon})


def announce(db: Db, sink: str, carrier: str, stuck: list[str], at_once: bool) -> int | None:
    """Count an attempt of the next event; None where there is none."""
    values = {"sink": sink, "carrier": carrier, "stuck": stuck, "at_once": at_once}
    row = db.execute(_NEXT, values).fetchone()
    if row is None:
        return None
    db.execute(_COUNT, [sink, row["outbox_id"]])
    return int(row["outbox_id"])


def hold(db: Db, sink: str, outbox_id: int) -> int | None:
    """Lock an event's row and return its attempts; None where another relay has it, or had it."""
    row = db.execute(_HOLD, [sink, outbox_id]).fetchone()
    return None if row is None else int(row["attempts"])


def event(db: Db, outbox_id: int, also: Mapping[str, Any]) -> tuple[Event, str]:
    """Return an event, with what every event is given besides its own fields, and its run."""
    row = db.execute(_EVENT, [outbox_id]).fetchone()
    if row is None:
        raise LockstepError(f"the ledger has lost row {outbox_id} of _migration_outbox. Restore the ledger.")
    data = {**also, **row["data"]}
    return Event(id=str(row["event_id"]), label=row["label"], data=data, at=utc(row["at"])), row["run_id"]


def delivered(db: Db, sink: str, outbox_id: int) -> None:
    db.execute(_DELIVERED, [sink, outbox_id])


def handed(db: Db, sink: str, outbox_id: int, carrier: str) -> None:
    db.execute(_HANDED, [carrier, sink, outbox_id])


def carried(db: Db, sink: str, carrier: str, settles: float) -> list[Carried]:
    """Return what other carriers have, locked."""
    found = db.execute(_CARRIED, {"sink": sink, "carrier": carrier, "settles": settles})
    return [Carried(outbox_id=row["outbox_id"], overdue=row["overdue"]) for row in found]


def taken_back(db: Db, sink: str, outbox_id: int) -> None:
    db.execute(_TAKEN_BACK, [sink, outbox_id])


def failed(db: Db, sink: str, outbox_id: int, *, error: str, refused: bool, seconds: float) -> None:
    """Keep why an event did not arrive, and let it wait."""
    values = {"sink": sink, "id": outbox_id, "error": error, "refused": refused, "seconds": seconds}
    db.execute(_FAILED, values)


def wake(db: Db, sink: str) -> None:
    db.execute(_WAKE, {"sink": sink})


def busy(db: Db, sinks: Sequence[str]) -> list[str]:
    return [row["sink"] for row in db.execute(_BUSY, [list(sinks)])]


def standing(db: Db, sink: str) -> tuple[int, datetime | None]:
    """Return how many events wait for a sink, those with a carrier not counted, and since when the oldest."""
    row = db.execute(_STANDING, [sink]).fetchone()
    if row is None or row["oldest"] is None:
        return 0, None
    return int(row["waiting"]), utc(row["oldest"])


def waiting_for(db: Db, sink: str) -> int:
    row = db.execute(_WAITING, [sink]).fetchone()
    return int(row["waiting"]) if row else 0


def pending(db: Db) -> int:
    row = db.execute(_PENDING).fetchone()
    return int(row["pending"]) if row else 0
