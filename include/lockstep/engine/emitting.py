"""Hand what happened to whoever listens: at the end of a run, and again and again until it arrived."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from lockstep.domain.errors import NotDelivered, Refused
from lockstep.domain.events import VERSION, Relayed
from lockstep.engine.ports import LateSink, Sink
from lockstep.engine.services import Services

#: events that one call tries for each sink: at a run's end, and when there is time
AT_END = 100
IN_PEACE = 1000
#: how long an event may wait before the relay is red, unless it is told otherwise
OVERDUE = timedelta(hours=24)
#: SQLSTATEs of a table and of a column that are not there
_NOT_THERE = ("42P01", "42703")


def emit(services: Services) -> dict[str, Any]:
    """Try to deliver what waits, to every sink by itself; what does not arrive waits for the relay.

    Raises only what the ledger raises: that a sink is away says nothing of the databases.
    """
    sinks = _in_turn(services.sinks())
    rounds = [_relayed(services, sink, AT_END, at_once=False) for sink in sinks]
    if not sinks:
        services.log.info("no sink is configured: events stay in the outbox")
    for one in rounds:
        if one.waiting:
            services.log.warning(
                f"{one.waiting} event(s) wait for {one.sink}{_why(one)} They stay in the outbox, and the relay "
                "delivers them. The run is as it is recorded."
            )
    return {
        "delivered": {one.sink: one.delivered + one.handed for one in rounds},
        "pending": services.ledger.pending_events(),
    }


def relay(services: Services, *, overdue: timedelta = OVERDUE, at_once: bool = False) -> dict[str, Any]:
    """Deliver what is pending and due; return what came of it, by sink.

    Where nothing is pending this is one query. Raises NotDelivered, naming the events, where a sink refused one
    now, or one that failed now has waited for longer than `overdue`. While the others wait for their next try
    it says so in the log, and is content.
    """
    sinks = _in_turn(services.sinks())
    busy = _busy(services, [sink.name for sink in sinks])
    rounds: list[Relayed] = []
    for sink in sinks:
        if sink.name not in busy:
            services.meter.gauge("outbox.pending", 0, sink=sink.name, environment=services.environment.name)
        elif _is_late(sink) and _lamentable(rounds, overdue):
            # A task that fails carries nothing: what it were handed would be lost until the next round.
            services.log.info(f"{sink.name} waits for the next round, since this one will be red")
        else:
            rounds.append(_relayed(services, sink, IN_PEACE, at_once=at_once))
    for one in rounds:
        if one.waiting:
            services.log.warning(f"{one.waiting} event(s) wait for {one.sink}{_why(one)}{_since(one)}")
    if not rounds:
        services.log.info("nothing is pending" if sinks else "no sink is configured")
    if lamentable := _lamentable(rounds, overdue):
        raise lamentable
    return {one.sink: dict(one.facts) for one in rounds}


def _busy(services: Services, names: list[str]) -> set[str]:
    """Ask which sinks have something to get; of a ledger that no run has made or brought up to date yet, too."""
    if not names:
        return set()
    try:
        return set(services.ledger.busy_sinks(names))
    except Refused as problem:
        if problem.fields.get("sqlstate") not in _NOT_THERE:
            raise
    services.ledger.check()
    return set(services.ledger.busy_sinks(names))


def look_at_outbox(services: Services) -> dict[str, Any]:
    """Return how many events wait for each sink, and say it in the log; nothing is written."""
    found = {sink.name: services.ledger.waiting_for(sink.name) for sink in services.sinks()}
    for name, count in found.items():
        services.log.info(f"{count} event(s) wait for {name}")
    return {name: {"waiting": count} for name, count in found.items()}


def _in_turn(sinks: Sequence[Sink]) -> list[Sink]:
    """Return the sinks, those last that hear only if the task ends well."""
    return sorted(sinks, key=_is_late)


def _is_late(sink: Sink) -> bool:
    return isinstance(sink, LateSink)


def _relayed(services: Services, sink: Sink, limit: int, *, at_once: bool) -> Relayed:
    also = {"version": VERSION, "environment": services.environment.name}
    one = services.ledger.relay(sink, limit=limit, also=also, at_once=at_once)
    tags = {"sink": sink.name, "environment": services.environment.name}
    services.meter.count("outbox.delivered", one.delivered, **tags)
    services.meter.gauge("outbox.pending", one.waiting, **tags)
    if one.failures:
        services.meter.count("outbox.failed", len(one.failures), **tags)
    if one.delivered:
        services.log.info(f"{one.delivered} event(s) delivered to {one.sink}")
    if one.handed:
        services.log.info(f"{one.handed} event(s) go to {one.sink} with this task, if it ends well")
    return one


def _why(one: Relayed) -> str:
    return f": {one.failures[0].said}" if one.failures else ", whose next try is due later."


def _since(one: Relayed) -> str:
    return f" The oldest waits since {one.oldest:%Y-%m-%d %H:%M:%S} UTC." if one.oldest else ""


def _lamentable(rounds: Sequence[Relayed], overdue: timedelta) -> NotDelivered | None:
    """Return what a person has to look at: what was refused now, or failed once more after a long time."""
    before = datetime.now(timezone.utc) - overdue
    bad = [
        (one.sink, failure)
        for one in rounds
        for failure in one.failures
        if failure.refused or failure.at < before
    ]
    if not bad:
        return None
    lines = "\n".join(
        f"  * {sink}: {event.label} ({event.event_id}) of run {event.run_id}, since {event.at:%Y-%m-%d %H:%M} UTC, "
        f"{event.attempts} tries: {event.said}"
        for sink, event in bad
    )
    return NotDelivered(
        f"{len(bad)} event(s) did not arrive, and time alone does not mend it:\n{lines}\nThey stay in the outbox with "
        "those of their runs behind them, and are tried again within the hour. Mend the sink, then trigger the DAG relay "
        "with at_once = true to see them arrive now.",
        events=[event.event_id for _, event in bad],
    )
