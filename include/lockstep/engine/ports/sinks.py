"""The port to who hears of what happened."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from lockstep.domain.exchange import Event


class Sink(Protocol):
    """Where events go: called for one event after another, in the order of each run, and again after a failure."""

    #: what its queue in the ledger is called: another name hears everything from the beginning
    name: str

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        """Deliver one event; with `tried_before`, look first whether it already arrived.

        Unavailable, with `retry_after` in seconds where the other side names them, for what another try may mend;
        any other error for what it would not. Whatever is raised, the event stays and is tried again.
        """


@runtime_checkable
class LateSink(Sink, Protocol):
    """One that says only later whether an event arrived: what delivers now may still come to nothing."""

    #: what carries the events that are delivered now, such as a task of Airflow
    carrier: str
    #: seconds after which a carrier that has not brought an event is not waited for any more
    settles: float
    #: seconds after which an event is too old to be queued at all
    horizon: float

    def arrived(self, event: Event) -> bool:
        """Say whether an event arrived."""
