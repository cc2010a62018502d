"""How far a shard is: in the log, and to whoever shows it live. Nothing is said that nobody counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lockstep.domain.progress import Fence, KeyRange, Progress
from lockstep.engine.services import Services

#: seconds between two lines of the log; the first comes sooner
GENTLE = 10.0
FIRST = 2.0
#: seconds between two messages to whoever shows it live
LIVE = 2.0
#: how much of the rate so far is kept when a new one is measured, a second
KEPT = 0.8


class Teller:
    """Measure the rate of a shard and tell of it."""

    def __init__(
        self, services: Services, fence: Fence, within: KeyRange, *, clock: Callable[[], float]
    ) -> None:
        self._services = services
        self._fence = fence
        self._within = within
        self._clock = clock
        self._logged = clock() - GENTLE + FIRST
        self._shown = float("-inf")
        self._measured = clock()
        self._read: int | None = None
        #: records a second of late; None before that can be said
        self.rate: float | None = None

    def tell(self, progress: Progress, doing: str) -> None:
        """Say how far the shard is, unless that was said a moment ago."""
        now = self._clock()
        self._measure(progress, now)
        facts = self.facts(progress)
        if progress.done or now - self._shown >= LIVE:
            self._services.told(facts)
            self._shown = now
        if progress.done or now - self._logged >= GENTLE:
            self._services.log.info(f"{doing}: {self._line(progress, facts)}", batches=progress.batches)
            self._logged = now

    def facts(self, progress: Progress) -> dict[str, Any]:
        """Return what is known: without an estimate there is no share and no time left."""
        estimate = self._within.estimate
        left = None
        if estimate is not None and self.rate and not progress.done:
            left = round(max(estimate - progress.read, 0) / self.rate, 1)
        return {
            "step": self._fence.step,
            "shard": self._fence.shard,
            "label": self._within.label,
            "read": progress.read,
            "written": progress.written,
            "quarantined": progress.quarantined,
            "estimate": estimate,
            "rate": None if self.rate is None else round(self.rate, 1),
            "eta_seconds": left,
            "held": None,
            "done": progress.done,
        }

    def _measure(self, progress: Progress, now: float) -> None:
        seconds = now - self._measured
        if self._read is None:
            self._read, self._measured = progress.read, now
            return
        if seconds < 0.5:
            return
        fresh = (progress.read - self._read) / seconds
        kept = KEPT**seconds
        self.rate = fresh if self.rate is None else self.rate * kept + fresh * (1 - kept)
        self._read, self._measured = progress.read, now

    def _line(self, progress: Progress, facts: dict[str, Any]) -> str:
        of = ""
        if facts["estimate"] and not progress.done:
            share = min(progress.read / facts["estimate"], 1.0)
            of = f" of about {facts['estimate']} ({share:.0%})"
        said = f"{progress.read}{of} record(s) read, {progress.written} written"
        if progress.quarantined:
            said += f", {progress.quarantined} in quarantine"
        if self.rate:
            said += f", {self.rate:.0f} a second"
        if facts["eta_seconds"] is not None:
            said += f", about {facts['eta_seconds']:.0f} s left"
        return said + (", done" if progress.done else "")
