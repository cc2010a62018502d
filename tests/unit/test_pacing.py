"""When a batch may start, with a clock, a ledger and signals that tests turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest

from lockstep.domain.errors import Held, Refused, Unavailable
from lockstep.domain.pacing import Limits, Reading, worst
from lockstep.domain.progress import Fence
from lockstep.domain.resources import Postgres
from lockstep.domain.run import Caller, Pause, Run, Standing
from lockstep.domain.status import RunStatus
from lockstep.engine.pacing import Pacer, asked
from lockstep.engine.services import Services, Settings

NOON = datetime(2026, 5, 5, 12, 0, tzinfo=timezone.utc)
AUTH = Postgres("auth")
STOP = Reading(signal="replication lag", verdict="stop", detail="14 s, allowed 10 s")
SLOW = Reading(signal="lock waiters", verdict="slow", detail="3, allowed 4")
RUN = Run(
    id="r1",
    revision="0001",
    direction="upgrade",
    status=RunStatus.OPEN,
    caller=Caller(dag_id="d", dag_run_id="dr"),
    checksum="c",
    started_at=NOON,
)


@dataclass
class Scene:
    """Everything that a pacer asks, and what it did."""

    now: float = 0.0
    readings: list[Reading] = field(default_factory=list)
    away: bool = False
    pause: Pause | None = None
    beats: list[float] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    asked: int = 0
    broken: str | None = None
    #: time → the readings from then on
    later: dict[float, list[Reading]] = field(default_factory=dict)

    def heartbeat(self, run_id: str, epoch: int, seconds: float) -> Standing:
        self.beats.append(self.now)
        return Standing(now=NOON + timedelta(seconds=self.now), pause=self.pause)

    def run(self, run_id: str) -> Run:
        return replace(RUN, error=self.broken)

    def hold(self, fence: Fence, reason: str) -> None:
        self.held.append(reason)

    def pressure(self, limits: Limits) -> Sequence[Reading]:
        self.asked += 1
        if self.away:
            raise Unavailable("PostgreSQL did not answer.")
        for since, readings in self.later.items():
            if self.now >= since:
                self.readings = readings
        return self.readings

    def check(self) -> dict[str, str]:
        return {}

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(event)

    warning = error = info

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        yield

    def pacer(self, phase: str = "upgrade", **settings: Any) -> Pacer:
        services = Services(
            ledger=cast(Any, self),
            vault=cast(Any, self),
            stores=lambda database: cast(Any, self),
            log=self,
            settings=Settings(**settings),
        )
        fence = Fence(run_id="r1", phase=cast(Any, phase), step=1, shard=0, epoch=1)
        return Pacer(services, RUN, fence, (AUTH,), clock=lambda: self.now, sleep=self.sleep)


def test_with_nothing_against_it_a_batch_starts_at_once() -> None:
    scene = Scene(readings=[Reading(signal="connections", verdict="go")])
    scene.pacer().wait()
    assert (scene.slept, scene.held) == ([], [])


def test_heartbeats_and_readings_are_a_second_apart() -> None:
    scene = Scene()
    pacer = scene.pacer()
    for _ in range(50):
        pacer.wait()
        scene.now += 0.1
    assert len(scene.beats) == scene.asked == 5


def test_a_stop_holds_the_batch_until_it_clears() -> None:
    scene = Scene(readings=[STOP], later={7.0: []})
    scene.pacer(patience=20.0).wait()
    assert 7.0 <= scene.now <= 8.5
    assert scene.held == [str(STOP)]
    assert any("14 s, allowed 10 s" in line for line in scene.lines)
    assert any("goes on after" in line for line in scene.lines)
    assert len(scene.beats) >= 7, "the lease is renewed while it waits"


def test_a_long_stop_gives_the_worker_back() -> None:
    scene = Scene(readings=[STOP])
    with pytest.raises(Held, match="replication lag") as held:
        scene.pacer(patience=5.0).wait()
    assert 5.0 <= scene.now <= 6.5
    assert 0 < held.value.seconds <= 10


def test_a_signal_that_cannot_be_read_means_stop_and_is_named() -> None:
    scene = Scene(away=True)
    with pytest.raises(Held, match=r"signals of auth.*did not answer"):
        scene.pacer(patience=2.0).wait()


def test_slow_waits_as_long_as_the_batch_took() -> None:
    scene = Scene(readings=[SLOW])
    pacer = scene.pacer()
    pacer.wait(took=0.7)
    scene.now += 2
    pacer.wait(took=60.0)
    assert scene.slept == [0.7, 5.0]
    assert sum("half pace" in line for line in scene.lines) == 1


def test_a_pause_gives_the_worker_back_at_once() -> None:
    scene = Scene(pause=Pause(by="olga", reason="the shop is busy", at=NOON))
    with pytest.raises(Held, match=r"olga paused the run .* the shop is busy") as held:
        scene.pacer().wait()
    assert held.value.seconds < 10
    assert scene.slept == []


def test_a_pause_of_a_day_is_asked_about_once_a_minute() -> None:
    scene = Scene(pause=Pause(by="olga", reason="", at=NOON - timedelta(days=1)))
    with pytest.raises(Held) as held:
        scene.pacer().wait()
    assert held.value.seconds == 60.0


def test_a_closed_window_holds_by_the_ledgers_clock() -> None:
    scene = Scene()
    with pytest.raises(Held, match="closed") as held:
        scene.pacer(window="01:00-05:00 UTC").wait()
    assert held.value.seconds == 300.0
    open_now = Scene()
    open_now.pacer(window="11:00-13:00 UTC").wait()
    assert open_now.held == []


def test_a_window_closes_between_two_batches() -> None:
    scene = Scene()
    pacer = scene.pacer(window="11:00-12:01 UTC")
    pacer.wait()
    scene.now = 61.0
    with pytest.raises(Held):
        pacer.wait()


def test_an_undo_does_not_wait_for_a_window_but_for_signals() -> None:
    Scene().pacer(phase="undo", window="01:00-05:00 UTC").wait()
    with pytest.raises(Held):
        Scene(readings=[STOP]).pacer(phase="undo", patience=1.0).wait()


@pytest.mark.parametrize(
    ("answer", "verdict", "detail"),
    [
        (None, "go", ""),
        ("go", "go", ""),
        ("slow", "slow", ""),
        ("stop", "stop", ""),
        (("stop", "the import runs"), "stop", "the import runs"),
        ("halt", "stop", "it answered 'halt'"),
        (17, "stop", "it answered 17"),
    ],
)
def test_the_answers_of_a_users_own_signal(answer: Any, verdict: str, detail: str) -> None:
    reading = asked("nightly", lambda: answer)
    assert (reading.verdict, reading.signal) == (verdict, "signal nightly")
    assert detail in reading.detail


def test_a_users_signal_that_raises_means_stop() -> None:
    def broken() -> None:
        raise KeyError("host")

    reading = asked("nightly", cast(Any, broken))
    assert reading.verdict == "stop"
    assert "KeyError" in reading.detail


def test_the_worst_reading_decides() -> None:
    go = Reading(signal="a", verdict="go")
    assert worst([go, SLOW, STOP, go]) == STOP
    assert worst([go, SLOW]) == SLOW
    assert worst([]) is None


def test_a_shard_does_not_wait_once_the_run_has_failed_elsewhere() -> None:
    scene = Scene(pause=Pause(by="olga", reason="", at=NOON), broken="shard 2: division by zero")
    with pytest.raises(Refused, match="failed elsewhere: shard 2"):
        scene.pacer().wait()
    assert scene.held == []
    with pytest.raises(Held):
        scene.pacer(phase="undo").wait()
