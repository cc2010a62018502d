"""The port to what a plan and its checks see of a database: it is read, and never written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from lockstep.domain.looking import Right, Size, Space, Wish
from lockstep.domain.resources import Touched


class Looker(Protocol):
    """Looks at one database. Unavailable or Refused, as a store raises them, where it does not let us in."""

    def facts(self) -> Mapping[str, str]:
        """Return what the server says of itself: `server` and `version`, and what else it tells."""

    def sizes(self, touched: Sequence[Touched]) -> Mapping[str, Size]:
        """Return how much there is of resources, by slug; from statistics, and from listing a little."""

    def space(self) -> Space:
        """Return the bytes that the database takes, and those that its disk has left."""

    def rights(self, wishes: Sequence[Wish]) -> list[Right]:
        """Return what is needed besides being let in, and whether it is granted, as far as that can be read."""

    def trouble(self) -> list[str]:
        """Say what keeps runs from working here that is not a matter of rights, such as a client that is too old."""
