"""How long to wait before something that failed is tried again."""

from __future__ import annotations

import random
from collections.abc import Callable

#: seconds after the first failure, and at most
FIRST = 30.0
MOST = 3600.0


def backoff(
    attempts: int, *, asked: float | None = None, chance: Callable[[float, float], float] = random.uniform
) -> float:
    """Return seconds: twice as many after each attempt, up to an hour, less up to a quarter by chance.

    `asked`: seconds that the other side asks for. Longer than an hour it is not believed.
    """
    # Beyond the twentieth the power would only overflow.
    seconds = min(MOST, FIRST * 2.0 ** min(max(attempts - 1, 0), 20))
    return max(seconds * chance(0.75, 1.0), min(asked or 0.0, MOST))
