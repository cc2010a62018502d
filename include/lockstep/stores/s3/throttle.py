"""Bound the requests under way, and press less on a server that asks for it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from lockstep.domain.pacing import Reading, Verdict

#: what a server says that is asked too much, by status or by code
_STATUS = frozenset({429, 503})
_CODES = frozenset(
    {"SlowDown", "TooManyRequests", "RequestLimitExceeded", "Throttling", "ThrottlingException"}
)
#: seconds that such an answer is remembered
REMEMBERED = 60.0
#: so many of them within that time mean stop, for so many seconds after the last
MANY = 3
REST = 5.0
#: seconds between two cuts: what is under way at one time is answered alike
CUT_EVERY = 1.0
#: seconds without such an answer after which one request more is tried
GROW_EVERY = 5.0


class Throttle:
    """So many requests at once, shared by all threads of a store: `with throttle: ask()`, never nested."""

    def __init__(self, most: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._free = threading.Condition()
        self._allowed = most
        self._running = 0
        self._answers: deque[float] = deque()
        self._changed = float("-inf")

    def __enter__(self) -> None:
        with self._free:
            self._grow()
            while self._running >= self._allowed:
                self._free.wait()
            self._running += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._free:
            self._running -= 1
            self._free.notify()

    @property
    def allowed(self) -> int:
        """Requests that may be under way at once by now."""
        with self._free:
            self._grow()
            return self._allowed

    def heard(self, response: Any = None, **more: Any) -> None:
        """Look at one answer; given to botocore for the event "needs-retry", which each attempt makes."""
        if response is None:
            return
        answer, parsed = response
        code = parsed.get("Error", {}).get("Code") if isinstance(parsed, dict) else None
        if answer.status_code in _STATUS or code in _CODES:
            self._slow_down()

    def _slow_down(self) -> None:
        with self._free:
            now = self._clock()
            self._answers.append(now)
            if now - self._changed >= CUT_EVERY or self._allowed == self._most:
                self._allowed = max(1, self._allowed // 2)
                self._changed = now

    def _grow(self) -> None:
        now = self._clock()
        if self._allowed < self._most and now - self._changed >= GROW_EVERY:
            self._allowed += 1
            self._changed = now
            self._free.notify()

    def reading(self) -> Reading:
        """Say slow after one such answer of the last minute, and stop for a while after several."""
        with self._free:
            now = self._clock()
            while self._answers and now - self._answers[0] > REMEMBERED:
                self._answers.popleft()
            count = len(self._answers)
            resting = count >= MANY and now - self._answers[-1] < REST
        verdict: Verdict = "stop" if resting else "slow" if count else "go"
        return Reading(
            signal="SlowDown answers",
            verdict=verdict,
            detail=f"{count} in the last minute, {self.allowed} of {self._most} requests at once",
        )
