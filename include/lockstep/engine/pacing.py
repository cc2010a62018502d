"""Whether another batch may start: the lease, a pause, the window, and what the databases say of themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from lockstep.domain.errors import Held, LockstepError, Refused, StaleEpoch
from lockstep.domain.pacing import Answer, Reading, Signal, worst
from lockstep.domain.progress import Fence
from lockstep.domain.resources import Database
from lockstep.domain.run import Pause, Run
from lockstep.domain.window import Window
from lockstep.engine import metering
from lockstep.engine.services import Services

#: seconds between two heartbeats, and between two readings of the signals, at least
EVERY = 1.0
#: seconds after which a shard that a signal holds looks again, once its worker was given back
AGAIN = 4.0
#: the same for a pause, which grows with its age, and for a window
PAUSE_AGAIN = (4.0, 60.0)
WINDOW_AGAIN = 300.0
#: the most seconds that a signal which says slow adds to a batch
SLOWEST = 5.0


class Pacer:
    """Ask before each batch; hold the work, or give its worker back, where the answer is no."""

    def __init__(
        self,
        services: Services,
        run: Run,
        fence: Fence,
        databases: Sequence[Database],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._services = services
        self._run = run
        self._fence = fence
        self._databases = databases
        self._clock = clock
        self._sleep = sleep
        # An undo does not wait for a window: what is half done is worse than what is slow.
        self._window = Window.parse(services.settings.window if fence.phase != "undo" else "")
        self._stood = float("-inf")
        self._read = float("-inf")
        self._reading: Reading | None = None
        self._slowed = ""

    def stand(self) -> None:
        """Renew the lease and hear what the run is asked to do, about once a second."""
        if self._clock() - self._stood < EVERY:
            return
        settings = self._services.settings
        standing = self._services.ledger.heartbeat(self._run.id, self._run.epoch, settings.lease_seconds)
        self._stood = self._clock()
        if standing.pause is not None:
            self._held(_paused(standing.pause), _pause_seconds(standing.pause, standing.now))
        closed = self._window.opens(standing.now)
        if closed > 0:
            self._held(
                f"the window {self._window} is closed and opens in {_duration(closed)}",
                min(closed, WINDOW_AGAIN),
            )

    def wait(self, took: float = 0.0) -> None:
        """Return once another batch may start; Held where a signal says stop for longer than a worker waits.

        `took`: seconds of the batch before; where a signal says slow, as many are waited.
        """
        self.stand()
        since = self._clock()
        held = None
        while (reading := self._signal()) is not None and reading.verdict == "stop":
            if held is None or held.signal != reading.signal:
                self._services.log.warning(f"held, nothing is written: {reading}")
                self._services.ledger.hold(self._fence, str(reading))
            held = reading
            if self._clock() - since >= self._services.settings.patience:
                self._held(str(reading), AGAIN)
            self._sleep(EVERY)
            self.stand()
        if held is not None:
            self._services.log.info(f"goes on after {self._clock() - since:.0f} s: {held.signal} has cleared")
            metering.held(self._services, self._run, self._clock() - since)
        if reading is not None and reading.verdict == "slow":
            self._slow(reading, took)

    def _slow(self, reading: Reading, took: float) -> None:
        if self._slowed != reading.signal:
            self._services.log.info(f"at half pace: {reading}")
            self._slowed = reading.signal
        self._sleep(min(took, SLOWEST))

    def _held(self, reason: str, seconds: float) -> None:
        error = self._services.ledger.run(self._run.id).error
        if error and self._fence.phase == "upgrade":
            # Its siblings wait for it to stop, so that what was done can be taken back.
            raise Refused(
                f"this shard does not wait ({reason}), since the run has failed elsewhere: {error}",
                run=self._run.id,
            )
        self._services.log.info(f"the worker is given back: {reason}")
        self._services.ledger.hold(self._fence, reason)
        raise Held(reason, seconds=max(seconds, 1.0))

    def _signal(self) -> Reading | None:
        """Return the reading that decides, read again after a second."""
        if self._clock() - self._read >= EVERY:
            self._reading = worst(self._readings())
            self._read = self._clock()
            if self._reading is None or self._reading.verdict == "go":
                self._slowed = ""
        return self._reading

    def _readings(self) -> list[Reading]:
        found: list[Reading] = []
        limits = self._services.settings.limits
        for database in self._databases:
            try:
                found += self._services.store(database).pressure(limits)
            except StaleEpoch:
                raise
            except LockstepError as problem:
                found.append(
                    Reading(signal=f"signals of {database.conn_id}", verdict="stop", detail=_unread(problem))
                )
        found += [asked(name, signal) for name, signal in self._services.signals.items()]
        return found


def asked(name: str, signal: Signal) -> Reading:
    """Ask a user's own signal; one that raises, or answers nonsense, says stop."""
    try:
        answer: Answer = signal()
    except Exception as problem:
        return Reading(
            signal=f"signal {name}", verdict="stop", detail=_unread(problem, type(problem).__name__)
        )
    given: Any = "go" if answer is None else answer
    verdict, detail = given if isinstance(given, tuple) and len(given) == 2 else (given, "")
    if verdict not in ("go", "slow", "stop"):
        detail = f'it answered {answer!r}; it may answer None, "slow", "stop" or ("stop", reason)'
        verdict = "stop"
    return Reading(signal=f"signal {name}", verdict=verdict, detail=str(detail))


def _unread(problem: Exception, kind: str = "") -> str:
    said = f"{kind}: {problem}" if kind else str(problem)
    return f"it cannot be read, which means stop: {said}"


def _paused(pause: Pause) -> str:
    why = f": {pause.reason}" if pause.reason else ""
    return f"{pause.by} paused the run at {pause.at:%Y-%m-%d %H:%M:%S} UTC{why}"


def _pause_seconds(pause: Pause, now: datetime) -> float:
    """Return when to ask again: soon at first, once a minute on a long pause."""
    least, most = PAUSE_AGAIN
    return min(max(least, (now - pause.at).total_seconds() / 10), most)


def _duration(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
