"""The port to whoever counts and times what runs do."""

from __future__ import annotations

from typing import Protocol


class Meter(Protocol):
    """Numbers for a graph. It never raises, and nobody waits for it."""

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        """Add to a counter."""

    def time(self, name: str, seconds: float, **tags: str) -> None:
        """Note how long something took."""

    def gauge(self, name: str, value: float, **tags: str) -> None:
        """Note how much there is of something now."""


class NoMeter:
    """Nobody counts."""

    def count(self, name: str, amount: int = 1, **tags: str) -> None: ...

    def time(self, name: str, seconds: float, **tags: str) -> None: ...

    def gauge(self, name: str, value: float, **tags: str) -> None: ...
