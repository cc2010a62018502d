"""Events leave in order, at least once, and say when they may have left before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from threading import Barrier
from threading import Event as Signal
from typing import TYPE_CHECKING

import pytest
from ledgers import Heard, a_run, fresh_ledger, opened, sql

from lockstep.domain.errors import Refused, Unavailable
from lockstep.domain.exchange import Event
from lockstep.domain.run import RunStatus
from lockstep.stores.ledger import PostgresLedger

if TYPE_CHECKING:
    from addresses import Addresses


@pytest.fixture
def fresh(servers: Addresses) -> Iterator[tuple[PostgresLedger, str]]:
    with fresh_ledger(servers) as made:
        opened(made[0], "r1", status=RunStatus.APPLIED)
        opened(made[0], "r2", status=RunStatus.APPLIED)
        yield made


@pytest.fixture
def ledger(fresh: tuple[PostgresLedger, str]) -> PostgresLedger:
    return fresh[0]


def say(ledger: PostgresLedger, *said: tuple[str, str]) -> list[str]:
    """Say (run, n) in one unit each; return the events' ids."""
    ids = []
    for run_id, number in said:
        with ledger.unit() as unit:
            ids.append(unit.say(run_id, "migration.applied", {"n": number}))
    return ids


class Hooked(Heard):
    """A sink that does something just before it hears."""

    def __init__(self, hook: Callable[[Event], None]) -> None:
        super().__init__()
        self.hook = hook

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        self.hook(event)
        super().deliver(event, tried_before=tried_before)


class Crashed(BaseException):
    """The worker was killed."""


def crash(event: Event) -> None:
    raise Crashed


def test_events_arrive_once_in_order(ledger: PostgresLedger) -> None:
    ids = say(ledger, ("r1", "a"), ("r2", "b"), ("r1", "c"))
    assert ledger.pending_events() == 3
    sink = Heard()
    assert ledger.deliver(sink) == 3
    assert [(event.id, tried) for event, tried in sink.events] == [(one, False) for one in ids]
    assert sink.numbers == ["a", "b", "c"]
    assert sink.events[0][0].at.tzinfo is timezone.utc
    assert ledger.pending_events() == 0
    assert ledger.deliver(sink) == 0
    assert len(sink.events) == 3


def test_times_and_sets_in_an_event_are_plain_json(ledger: PostgresLedger) -> None:
    with ledger.unit() as unit:
        unit.say("r1", "x", {"n": 1, "at": datetime(2026, 1, 2, tzinfo=timezone.utc), "by": ("a", {"b"})})
    sink = Heard()
    ledger.deliver(sink)
    assert sink.events[0][0].data == {"n": 1, "at": "2026-01-02T00:00:00+00:00", "by": ["a", ["b"]]}


def test_an_event_of_no_run_is_refused(ledger: PostgresLedger) -> None:
    with pytest.raises(Refused, match="does not know the run"), ledger.unit() as unit:
        unit.say("r9", "x", {})


def test_no_more_than_the_limit_is_tried(ledger: PostgresLedger) -> None:
    say(ledger, *(("r1", str(n)) for n in range(5)))
    sink = Heard()
    assert ledger.deliver(sink, limit=2) == 2
    assert ledger.pending_events() == 3
    assert ledger.deliver(sink, limit=2) == 2
    assert sink.numbers == ["0", "1", "2", "3"]


def test_a_failing_event_holds_up_its_run_and_no_other(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    say(ledger, ("r1", "a"), ("r1", "b"), ("r2", "c"), ("r1", "d"), ("r2", "e"))
    sink = Heard("b")
    with pytest.raises(Unavailable, match=r"of run r1 did not reach heard: RuntimeError") as caught:
        ledger.deliver(sink)
    assert sink.numbers == ["a", "c", "e"]
    assert ledger.pending_events() == 2
    assert caught.value.__cause__ is sink.error
    assert "hidden" not in str(caught.value)
    with sql(conninfo) as db:
        kept = db.execute(
            "SELECT attempts, error FROM _migration_deliveries WHERE error IS NOT NULL"
        ).fetchall()
    assert kept == [{"attempts": 1, "error": "RuntimeError"}]
    sink.failing.clear()
    assert ledger.deliver(sink) == 2
    assert sink.numbers == ["a", "c", "e", "b", "d"]
    assert [tried for _, tried in sink.events] == [False, False, False, True, False]
    with sql(conninfo) as db:
        assert db.execute("SELECT FROM _migration_deliveries WHERE error IS NOT NULL").fetchall() == []


def test_a_failure_that_a_retry_would_not_mend_is_refused(ledger: PostgresLedger) -> None:
    say(ledger, ("r1", "a"), ("r2", "b"))
    sink = Heard("a", "b")
    sink.error = Refused("the sink lacks its table(s) events.")
    with pytest.raises(Refused, match=r"lacks its table\(s\) events.* 1 other run"):
        ledger.deliver(sink)


def test_an_event_in_hand_when_the_worker_died_says_so_to_the_next(ledger: PostgresLedger) -> None:
    say(ledger, ("r1", "a"))
    with pytest.raises(Crashed):
        ledger.deliver(Hooked(crash))
    assert ledger.pending_events() == 1
    sink = Heard()
    assert ledger.deliver(sink) == 1
    assert [tried for _, tried in sink.events] == [True]


def test_a_second_relay_leaves_alone_what_the_first_has_in_hand(ledger: PostgresLedger) -> None:
    say(ledger, ("r1", "a"), ("r1", "b"), ("r2", "c"))
    other = Heard()

    def meanwhile(event: Event) -> None:
        if event.data["n"] == "a":
            assert ledger.deliver(other) == 1

    first = Hooked(meanwhile)
    assert ledger.deliver(first) == 2
    assert first.numbers == ["a", "b"]
    assert other.numbers == ["c"]


def test_two_relays_at_once_deliver_every_event_once_in_order(ledger: PostgresLedger) -> None:
    with ledger.unit() as unit:
        for run in range(3, 8):
            unit.add_run(a_run(f"r{run}", status=RunStatus.APPLIED))
        for number in range(60):
            unit.say(f"r{number % 7 + 1}", "x", {"n": number, "run": number % 7})
    sink, ready = Heard(), Barrier(2)

    def relay() -> int:
        ready.wait()
        return ledger.deliver(sink)

    with ThreadPoolExecutor(2) as pool:
        relays = [pool.submit(relay) for _ in range(2)]
        went = sum(one.result() for one in relays)
    went += ledger.deliver(sink)
    assert went == 60
    assert sorted(sink.numbers) == list(range(60))
    for run in range(7):
        numbers = [event.data["n"] for event, _ in sink.events if event.data["run"] == run]
        assert numbers == sorted(numbers)


def test_a_relay_that_was_overtaken_by_one_that_died_is_told(
    fresh: tuple[PostgresLedger, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a relay's count and its lock another one may try, deliver, and die before it marks."""
    from lockstep.stores.ledger import outbox

    ledger, _ = fresh
    say(ledger, ("r1", "a"))
    hand_over, overtaken = outbox._hand_over, Signal()

    def slow(*args: object) -> object:
        if not overtaken.is_set():
            overtaken.set()
            with pytest.raises(Crashed):
                ledger.deliver(Hooked(crash))
        return hand_over(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(outbox, "_hand_over", slow)
    sink = Heard()
    assert ledger.deliver(sink) == 1
    assert [tried for _, tried in sink.events] == [True]


def test_each_sink_hears_everything_whatever_happens_to_another(ledger: PostgresLedger) -> None:
    say(ledger, ("r1", "a"), ("r1", "b"))
    broken, sound = Heard("a"), Heard()
    sound.name = "sound"
    with pytest.raises(Unavailable):
        ledger.deliver(broken)
    assert ledger.deliver(sound) == 2
    assert sound.numbers == ["a", "b"]
    assert ledger.pending_events() == 2
    broken.failing.clear()
    assert ledger.deliver(broken) == 2
    assert ledger.pending_events() == 0
