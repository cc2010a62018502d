"""What the databases say of themselves before each batch: go, slow or stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["go", "slow", "stop"]

_ORDER: tuple[Verdict, ...] = ("go", "slow", "stop")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One signal, read once."""

    #: such as "replication lag of standby-2"
    signal: str
    verdict: Verdict
    #: what was read against what is allowed, such as "14.2 s, allowed 10 s"
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.signal}: {self.detail}" if self.detail else self.signal


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a migration may press on a database. Beyond half of a limit it slows, beyond all of it it stops."""

    #: seconds that a standby, or a secondary, may be behind
    replication_lag: float = 10.0
    #: bytes of WAL that a replication slot may keep back
    slot_bytes: int = 8 * 1024**3
    #: sessions that may wait for a lock of ours
    waiters: int = 4
    #: seconds that another session's transaction may be open: an old snapshot keeps dead rows from being cleaned up
    transaction_age: float = 3600.0
    #: share of the connections that may be in use
    connections: float = 0.9


#: A user's own signal, of `include/signals.py`: None or "go" to go on, "slow", or "stop"; or with the reason,
#: as ("stop", "the nightly import runs"). One that raises means stop.
Answer = Verdict | tuple[Verdict, str] | None
Signal = Callable[[], Answer]


def worst(readings: Iterable[Reading]) -> Reading | None:
    """Return the reading that decides, None where there is none: stop before slow before go."""
    return max(readings, key=lambda reading: _ORDER.index(reading.verdict), default=None)
