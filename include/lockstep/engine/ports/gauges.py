"""The port to what a rehearsal measures of a copy, and how it makes a copy smaller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from lockstep.domain.rehearsal import HeldLock
from lockstep.domain.resources import Touched


class LockLog(Protocol):
    """What was seen so far."""

    def held(self) -> list[HeldLock]:
        """Return the locks seen since the last time that this was asked, longest first."""


class Gauge(Protocol):
    """Looks at one copy."""

    def size(self) -> Mapping[str, int]:
        """Return bytes by what they are, such as "database"; empty where the server does not say.

        "wal": a position in the server's write-ahead log, of which only differences mean something.
        """

    def watching(self) -> AbstractContextManager[LockLog]:
        """Look at the locks that sessions in this copy hold, from a thread, for the length of a block."""

    def thin(self, percent: float, resources: Sequence[Touched]) -> tuple[Mapping[str, int], str]:
        """Keep about so many per cent of the records, chosen by a hash of their keys.

        Returns slug → records left, of resources that were made smaller, and how it was done. What a record
        that is kept refers to by a foreign key stays.
        """
