"""Ask again for what was not to be had, with nothing held in between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from lockstep.domain.errors import LockTimeout, Unavailable
from lockstep.domain.locking import PATIENCE
from lockstep.engine.context import StepContext

T = TypeVar("T")

#: seconds between two attempts, at first and at most
PAUSES = (1.0, 5.0)
#: attempts that may fail for another reason than a lock, one after the other
OTHER_FAILURES = 5
#: attempts that are each told of in the log; later ones only every so many seconds
TOLD_AT_FIRST = 5
TELL_EVERY = 30.0


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long it goes on."""

    seconds: float = PATIENCE
    #: None for as many as fit
    attempts: int | None = None


@dataclass(kw_only=True)
class Trying:
    """One piece of work that is tried again and again."""

    context: StepContext
    patience: Patience
    began: float
    attempts: int = 0
    others: int = 0
    told: float = field(default=float("-inf"))

    def failed(self, problem: Unavailable) -> None:
        """Count an attempt; raise the last error, with how often it was tried, where that was enough."""
        self.attempts += 1
        self.others = 0 if isinstance(problem, LockTimeout) else self.others + 1
        if self.attempts == self.patience.attempts or self.others == OTHER_FAILURES or self._over():
            if self.attempts == 1:
                raise problem
            tried = f"Tried {self.attempts} times in {self._since():.0f} s."
            raise type(problem)(f"{problem} {tried}", **problem.fields) from problem

    def wait(self, problem: Unavailable) -> None:
        """Wait a moment, told in the log; the lease stays ours, and a pause is honoured."""
        first, most = PAUSES
        pause = min(most, first * 1.5**self.attempts) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        self._tell(problem, pause)
        self.context.alive()
        time.sleep(pause)
        self.context.alive()

    def _tell(self, problem: Unavailable, pause: float) -> None:
        now = self.context.clock()
        if self.attempts > TOLD_AT_FIRST and now - self.told < TELL_EVERY:
            return
        self.told = now
        self.context.log.warning(
            f"attempt {self.attempts}, {self._since():.0f} s since the first: {problem} "
            f"Nothing is held meanwhile; next in {pause:.1f} s."
        )

    def _over(self) -> bool:
        return self._since() >= self.patience.seconds

    def _since(self) -> float:
        return self.context.clock() - self.began


def patiently(context: StepContext, patience: Patience, attempt: Callable[[], T]) -> T:
    """Do a piece of work, again and again where a server or a lock was not to be had.

    Each attempt must have given up all that it held when it raises. Raises the last Unavailable, and what
    `context.alive` raises between attempts: Held, StaleEpoch.
    """
    trying = Trying(context=context, patience=patience, began=context.clock())
    while True:
        try:
            return attempt()
        except Unavailable as problem:
            trying.failed(problem)
            failure = problem
        trying.wait(failure)
