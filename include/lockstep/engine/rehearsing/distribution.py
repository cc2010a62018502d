"""How long batches took: exact while they are few, and a sample of them in bounded memory when they are many."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

#: times that are kept; beyond it every second one goes, as often as that happens
MOST = 8192
#: bars of a histogram
BARS = 24


class Distribution:
    """Seconds, in the order in which they came."""

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self.count = 0
        self.longest = 0.0
        self.kept: list[float] = []
        self._every = 1
        for one in seconds:
            self.add(one)

    def add(self, seconds: float) -> None:
        if self.count % self._every == 0:
            self.kept.append(seconds)
            if len(self.kept) > MOST:
                self.kept = self.kept[::2]
                self._every *= 2
        self.count += 1
        self.longest = max(self.longest, seconds)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which a share of sorted values lies; the nearest one, as no value is invented."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(kept: Sequence[float], count: int, longest: float) -> dict[str, Any] | None:
    """Return percentiles and a histogram of batch times, or None where there was no batch."""
    if not kept:
        return None
    ordered = sorted(kept)
    top = max(longest, ordered[-1])
    width = (top / BARS) or 1e-6
    bars = [0] * BARS
    for one in ordered:
        bars[min(BARS - 1, int(one / width))] += 1
    return {
        "count": count,
        "shown": len(ordered),
        "p50": percentile(ordered, 0.5),
        "p90": percentile(ordered, 0.9),
        "p99": percentile(ordered, 0.99),
        "longest": top,
        "histogram": {"width": width, "bars": bars},
    }
