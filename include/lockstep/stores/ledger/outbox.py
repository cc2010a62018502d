"""The outbox: events leave in the order in which they happened, run by run.

Each sink has its own queue over the same events, so that one that fails holds up nobody else. An attempt
is counted, and committed, before the sink is called: after a crash the sink is told that it may have it.
One that fails is tried again later and later, and at once when the sink has taken another event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from lockstep.domain.backoff import backoff
from lockstep.domain.errors import LockstepError, Refused, Unavailable
from lockstep.domain.events import Relayed, Undelivered
from lockstep.domain.exchange import Event
from lockstep.stores.ledger import deliveries
from lockstep.stores.ledger.connect import Connections, Db
from lockstep.stores.ledger.plain import error_text

#: seconds that a sink may take while the ledger's transaction waits for it
_SINK_SECONDS = 300
#: events that fail one after another until a sink counts as down, and is left alone for now
_DOWN = 3


class Receiver(Protocol):
    """What the outbox needs of a sink."""

    name: str

    def deliver(self, event: Event, *, tried_before: bool) -> None: ...


@runtime_checkable
class LateReceiver(Protocol):
    """What it needs of one that says only later whether an event arrived."""

    name: str
    #: what carries the events that are delivered now
    carrier: str
    #: seconds after which a carrier that has not brought an event is not waited for any more
    settles: float
    #: seconds after which an event is too old to be queued
    horizon: float

    def deliver(self, event: Event, *, tried_before: bool) -> None: ...

    def arrived(self, event: Event) -> bool: ...


@dataclass
class _Round:
    """What comes of one call."""

    delivered: int = 0
    handed: int = 0
    failures: list[Undelivered] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    #: failures since the last event that arrived
    in_a_row: int = 0

    @property
    def stuck(self) -> list[str]:
        """The runs that wait for an event that failed in this round."""
        return [failure.run_id for failure in self.failures]


def pending(db: Db) -> int:
    return deliveries.pending(db)


def waiting_for(db: Db, sink: str) -> int:
    return deliveries.waiting_for(db, sink)


def relay(
    connections: Connections,
    sink: Receiver,
    *,
    limit: int,
    also: Mapping[str, Any],
    at_once: bool,
) -> Relayed:
    """Try up to `limit` events of one sink, those that wait for a later try left out unless `at_once`.

    Raises only what the ledger raises.
    """
    done = _round(connections, sink, limit, also, at_once)
    with connections.transaction() as db:
        waiting, oldest = deliveries.standing(db, sink.name)
    return Relayed(
        sink=sink.name,
        delivered=done.delivered,
        handed=done.handed,
        failures=tuple(done.failures),
        waiting=waiting,
        oldest=oldest,
    )


def deliver(connections: Connections, sink: Receiver, limit: int) -> int:
    """Try up to `limit` events now; return how many went, or raise the first failure when all were tried."""
    done = _round(connections, sink, limit, {}, at_once=True)
    if done.failures:
        raise _first(sink, done) from done.errors[0]
    return done.delivered


def busy(connections: Connections, sinks: Sequence[str]) -> list[str]:
    """Return which of these sinks have events to get, or to say of whether they arrived; one query."""
    with connections.transaction() as db:
        return deliveries.busy(db, sinks)


def _round(
    connections: Connections, sink: Receiver, limit: int, also: Mapping[str, Any], at_once: bool
) -> _Round:
    done = _Round()
    late = sink if isinstance(sink, LateReceiver) else None
    with connections.transaction() as db:
        deliveries.queue(db, sink.name, late.horizon if late else None)
    if late is not None:
        done.delivered += _settle(connections, late, also)
    carrier = late.carrier if late else ""
    for _ in range(limit):
        outbox_id = _announce(connections, sink, carrier, done.stuck, at_once)
        if outbox_id is None:
            break
        _hand_over(connections, sink, outbox_id, also, carrier, done)
        if done.in_a_row >= _DOWN:
            break
    if done.delivered:
        # It answers again: what waits because it did not is tried with the next round.
        with connections.transaction() as db:
            deliveries.wake(db, sink.name)
    return done


def _settle(connections: Connections, sink: LateReceiver, also: Mapping[str, Any]) -> int:
    """Ask of each event that another carrier has whether it arrived; return how many did.

    What did not is queued again once its carrier has had its time: Airflow knows nothing of a task that died.
    """
    arrived = 0
    with connections.transaction(idle=_SINK_SECONDS) as db:
        for held in deliveries.carried(db, sink.name, sink.carrier, sink.settles):
            event, _ = deliveries.event(db, held.outbox_id, also)
            if sink.arrived(event):
                deliveries.delivered(db, sink.name, held.outbox_id)
                arrived += 1
            elif held.overdue:
                deliveries.taken_back(db, sink.name, held.outbox_id)
    return arrived


def _announce(
    connections: Connections, sink: Receiver, carrier: str, stuck: list[str], at_once: bool
) -> int | None:
    """Commit that the next event is about to be tried; None where there is none."""
    with connections.transaction() as db:
        return deliveries.announce(db, sink.name, carrier, stuck, at_once)


def _hand_over(
    connections: Connections,
    sink: Receiver,
    outbox_id: int,
    also: Mapping[str, Any],
    carrier: str,
    done: _Round,
) -> None:
    """Deliver one event and mark it, with its row locked; nothing where another relay was faster."""
    with connections.transaction(idle=_SINK_SECONDS) as db:
        attempts = deliveries.hold(db, sink.name, outbox_id)
        if attempts is None:
            return
        event, run_id = deliveries.event(db, outbox_id, also)
        problem: Exception | None = None
        try:
            # Attempts are read under the lock: another relay may have tried, and died, since we counted.
            sink.deliver(event, tried_before=attempts > 1)
        except Exception as error:
            problem = error
        else:
            _mark(db, sink, outbox_id, carrier, done)
    if problem is not None:
        failure = Undelivered(
            event_id=event.id,
            label=event.label,
            run_id=run_id,
            said=_said(problem),
            refused=isinstance(problem, LockstepError) and not problem.transient,
            attempts=attempts,
            at=event.at,
        )
        _keep(connections, sink, outbox_id, failure, problem)
        done.failures.append(failure)
        done.errors.append(problem)
        done.in_a_row += 1


def _mark(db: Db, sink: Receiver, outbox_id: int, carrier: str, done: _Round) -> None:
    if carrier:
        deliveries.handed(db, sink.name, outbox_id, carrier)
        done.handed += 1
    else:
        deliveries.delivered(db, sink.name, outbox_id)
        done.delivered += 1
    done.in_a_row = 0


def _keep(
    connections: Connections, sink: Receiver, outbox_id: int, failure: Undelivered, problem: Exception
) -> None:
    asked = problem.fields.get("retry_after") if isinstance(problem, LockstepError) else None
    with connections.transaction() as db:
        deliveries.failed(
            db,
            sink.name,
            outbox_id,
            error=error_text(failure.said) or "",
            refused=failure.refused,
            seconds=backoff(failure.attempts, asked=asked),
        )


def _said(error: Exception) -> str:
    # What a foreign exception says may hold an address with a token in it: its type is enough here.
    return str(error) if isinstance(error, LockstepError) else type(error).__name__


def _first(sink: Receiver, done: _Round) -> LockstepError:
    first = done.failures[0]
    kind = Refused if first.refused else Unavailable
    others = f" {len(done.failures) - 1} other run(s) wait too." if len(done.failures) > 1 else ""
    return kind(
        f"event {first.label!r} ({first.event_id}) of run {first.run_id} did not reach {sink.name}: "
        f"{first.said} It stays in the outbox, with those of its run behind it, "
        f"until a relay delivers it.{others}",
        sink=sink.name,
        event=first.event_id,
        run=first.run_id,
        failed=len(done.failures),
    )
