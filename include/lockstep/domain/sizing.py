"""How many records the next batch takes: as many as fit the time that a batch aims at."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

#: batches that the estimate looks back at
WINDOW = 5
#: a batch that took this much longer than it should cuts the next one at once
OVERSHOOT = 1.2
#: the most that a batch may be larger than the one before it
GROWTH = 1.6
#: the same while nothing is known yet but that all is well
FIRST_GROWTH = 4.0
#: two batches in a row that cost less than this share of what was expected: the records have changed
CHEAPER = 0.6


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a batch may be, whatever the time says."""

    #: seconds that a batch aims at
    seconds: float
    #: records
    least: int
    most: int
    #: bytes held in memory
    size: int

    @property
    def floor(self) -> int:
        """The fewest records; never more than the most."""
        return max(1, min(self.least, self.most))


class Sizer:
    """Aim batches at a time by what recent ones cost a record.

    The cost is the 90th percentile of recent batches, so that one lucky batch does not make the next too
    large. It grows gently and shrinks at once. `width`: bytes of a record where that is known beforehand.
    """

    def __init__(self, bounds: Bounds, *, start: int, width: int | None = None) -> None:
        self.bounds = bounds
        self._costs: deque[float] = deque(maxlen=WINDOW)
        self._width = float(width or 0)
        self._settled = False
        self.size = self._fitting(start)

    def observe(self, records: int, seconds: float, size: int = 0) -> None:
        """Take in what a batch of `records` cost in seconds and, where known, in bytes; set the next size."""
        if records <= 0:
            return
        cost = max(seconds, 1e-6) / records
        if size:
            # The widest of late: a batch is read before its width is known.
            self._width = max(size / records, self._width * 0.9)
        if cost * self.size > self.bounds.seconds * OVERSHOOT:
            # What was measured before this batch says nothing of records such as these.
            self._costs.clear()
            self._settled = True
        elif self._became_cheaper(cost):
            last = self._costs[-1]
            self._costs.clear()
            self._costs.append(last)
        self._costs.append(cost)
        wanted = self.bounds.seconds / self._percentile()
        grown = self.size * (GROWTH if self._settled else FIRST_GROWTH)
        if wanted < grown:
            self._settled = True
        # A batch that was cut short by the end of its range says nothing of larger ones.
        self.size = self._fitting(min(wanted, grown) if records * 2 >= self.size else min(wanted, self.size))

    def cut(self, records: int) -> None:
        """Go no higher than `records` for the next batch."""
        self.size = max(1, min(self.size, records))

    def _became_cheaper(self, cost: float) -> bool:
        if len(self._costs) < 2:
            return False
        expected = self._percentile()
        return cost < expected * CHEAPER and self._costs[-1] < expected * CHEAPER

    def _percentile(self) -> float:
        ordered = sorted(self._costs)
        return ordered[math.ceil(0.9 * len(ordered)) - 1]

    def _fitting(self, wanted: float) -> int:
        most = float(self.bounds.most)
        if self._width:
            most = min(most, self.bounds.size / self._width)
        return max(1, int(min(max(wanted, self.bounds.floor), most)))
