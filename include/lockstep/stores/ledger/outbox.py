"""The outbox: events leave in the order in which they happened, run by run.

Each sink has its own queue over the same events, so that one that fails holds up nobody else. An attempt
is counted, and committed, before the sink is called: after a crash the sink is told that it may have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lockstep.domain.errors import LockstepError, Refused, Unavailable
from lockstep.domain.exchange import Event
from lockstep.stores.ledger.connect import Connections, Db
from lockstep.stores.ledger.plain import error_text, utc

# Events that this sink's queue does not hold yet.
_QUEUE = """
    INSERT INTO _migration_deliveries (sink, outbox_id, run_id)
    SELECT %(sink)s, o.id, o.run_id FROM _migration_outbox o
    WHERE NOT EXISTS (SELECT FROM _migration_deliveries d WHERE d.sink = %(sink)s AND d.outbox_id = o.id)
    ORDER BY o.id
    ON CONFLICT DO NOTHING
"""
# The next event whose run has nothing earlier pending. What another relay has in hand is skipped, and with
# it what follows in that run, since it is still pending for every other transaction.
_NEXT = """
    SELECT d.outbox_id FROM _migration_deliveries d
    WHERE d.sink = %(sink)s AND d.delivered_at IS NULL AND d.run_id <> ALL(%(stuck)s)
      AND NOT EXISTS (
          SELECT FROM _migration_deliveries e
          WHERE e.sink = d.sink AND e.run_id = d.run_id AND e.outbox_id < d.outbox_id
            AND e.delivered_at IS NULL
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
    WHERE sink = %s AND outbox_id = %s AND delivered_at IS NULL FOR UPDATE SKIP LOCKED
"""
# What is to be said.
_EVENT = "SELECT event_id, run_id, label, data, at FROM _migration_outbox WHERE id = %s"
# It arrived.
_DELIVERED = """
    UPDATE _migration_deliveries SET delivered_at = clock_timestamp(), error = NULL
    WHERE sink = %s AND outbox_id = %s
"""
# It did not.
_FAILED = (
    "UPDATE _migration_deliveries SET error = %s WHERE sink = %s AND outbox_id = %s AND delivered_at IS NULL"
)
# Events that no sink has, or that a sink is still to get.
_PENDING = """
    SELECT count(*) AS pending FROM _migration_outbox o
    WHERE NOT EXISTS (SELECT FROM _migration_deliveries d WHERE d.outbox_id = o.id)
       OR EXISTS (SELECT FROM _migration_deliveries d WHERE d.outbox_id = o.id AND d.delivered_at IS NULL)
"""

#: seconds that a sink may take while the ledger's transaction waits for it
_SINK_SECONDS = 300


class Receiver(Protocol):
    """What the outbox needs of a sink."""

    name: str

    def deliver(self, event: Event, *, tried_before: bool) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An event that did not arrive, and why."""

    event: Event
    run_id: str
    error: Exception


def pending(db: Db) -> int:
    row = db.execute(_PENDING).fetchone()
    return int(row["pending"]) if row else 0


def deliver(connections: Connections, sink: Receiver, limit: int) -> int:
    """Try up to `limit` events; return how many went, or raise the first failure when all were tried."""
    with connections.transaction() as db:
        db.execute(_QUEUE, {"sink": sink.name})
    delivered = 0
    failures: list[Failure] = []
    for _ in range(limit):
        outbox_id = _announce(connections, sink, [failure.run_id for failure in failures])
        if outbox_id is None:
            break
        outcome = _hand_over(connections, sink, outbox_id)
        if isinstance(outcome, Failure):
            _keep(connections, sink, outbox_id, outcome)
            failures.append(outcome)
        else:
            delivered += outcome
    if failures:
        raise _first(sink, failures) from failures[0].error
    return delivered


def _announce(connections: Connections, sink: Receiver, stuck: list[str]) -> int | None:
    """Commit that the next event is about to be tried; None where there is none."""
    with connections.transaction() as db:
        row = db.execute(_NEXT, {"sink": sink.name, "stuck": stuck}).fetchone()
        if row is None:
            return None
        db.execute(_COUNT, [sink.name, row["outbox_id"]])
        return int(row["outbox_id"])


def _hand_over(connections: Connections, sink: Receiver, outbox_id: int) -> int | Failure:
    """Deliver one event and mark it, with its row locked; 0 where another relay was faster."""
    with connections.transaction(idle=_SINK_SECONDS) as db:
        held = db.execute(_HOLD, [sink.name, outbox_id]).fetchone()
        if held is None:
            return 0
        event, run_id = _event(db, outbox_id)
        try:
            # Attempts are read under the lock: another relay may have tried, and died, since we counted.
            sink.deliver(event, tried_before=held["attempts"] > 1)
        except Exception as error:
            return Failure(event=event, run_id=run_id, error=error)
        db.execute(_DELIVERED, [sink.name, outbox_id])
        return 1


def _event(db: Db, outbox_id: int) -> tuple[Event, str]:
    row = db.execute(_EVENT, [outbox_id]).fetchone()
    if row is None:
        raise LockstepError(f"the ledger has lost row {outbox_id} of _migration_outbox. Restore the ledger.")
    event = Event(id=str(row["event_id"]), label=row["label"], data=row["data"], at=utc(row["at"]))
    return event, row["run_id"]


def _keep(connections: Connections, sink: Receiver, outbox_id: int, failure: Failure) -> None:
    with connections.transaction() as db:
        db.execute(_FAILED, [error_text(_said(failure.error)), sink.name, outbox_id])


def _said(error: Exception) -> str:
    # What a foreign exception says may hold an address with a token in it: its type is enough here.
    return str(error) if isinstance(error, LockstepError) else type(error).__name__


def _first(sink: Receiver, failures: list[Failure]) -> LockstepError:
    first = failures[0]
    kept = isinstance(first.error, LockstepError) and not first.error.transient
    kind = Refused if kept else Unavailable
    others = f" {len(failures) - 1} other run(s) wait too." if len(failures) > 1 else ""
    return kind(
        f"event {first.event.label!r} ({first.event.id}) of run {first.run_id} did not reach {sink.name}: "
        f"{_said(first.error)} It stays in the outbox, with those of its run behind it, "
        f"until a relay delivers it.{others}",
        sink=sink.name,
        event=first.event.id,
        run=first.run_id,
        failed=len(failures),
    )
