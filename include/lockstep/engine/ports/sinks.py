"""The port to who hears of what happened."""

from __future__ import annotations

from typing import Protocol

from lockstep.domain.exchange import Event


class Sink(Protocol):
    """Where events go."""

    name: str

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        """Deliver one event; with `tried_before`, look first whether it already arrived."""
