"""A sink whose connection cannot be used: its events wait, and whoever looks is told what to mend."""

from __future__ import annotations

from lockstep.domain.errors import LockstepError
from lockstep.domain.exchange import Event


class BrokenSink:
    """Take the place of a sink that could not be made."""

    def __init__(self, name: str, problem: LockstepError) -> None:
        self.name = name
        self._problem = problem

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        raise self._problem
