"""What does not arrive is tried again later and later, and nothing is lost on the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ledgers import Heard, fresh_ledger, opened, sql

from lockstep.domain.backoff import MOST, backoff
from lockstep.domain.errors import Refused, Unavailable
from lockstep.domain.exchange import Event
from lockstep.domain.run import RunStatus
from lockstep.stores.ledger import PostgresLedger

if TYPE_CHECKING:
    from addresses import Addresses

Fresh = tuple[PostgresLedger, str]


@pytest.fixture
def fresh(servers: Addresses) -> Iterator[Fresh]:
    with fresh_ledger(servers) as made:
        for run_id in ("r1", "r2", "r3", "r4", "r5"):
            opened(made[0], run_id, status=RunStatus.APPLIED)
        yield made


def say(ledger: PostgresLedger, *said: tuple[str, str]) -> None:
    for run_id, number in said:
        with ledger.unit() as unit:
            unit.say(run_id, "migration.applied", {"n": number})


def run(conninfo: str, statement: str) -> None:
    with sql(conninfo) as db:
        db.execute(statement)


def away(*failing: str) -> Heard:
    sink = Heard(*failing)
    sink.error = Unavailable("nobody answers.")
    return sink


class Carrier(Heard):
    """A sink that says only later what arrived."""

    carrier = "first"
    settles = 60.0
    horizon = 3600.0

    def __init__(self) -> None:
        super().__init__()
        self.known: set[str] = set()

    def arrived(self, event: Event) -> bool:
        return event.id in self.known


def test_the_wait_doubles_up_to_an_hour_and_believes_what_the_other_side_asks() -> None:
    def most(low: float, high: float) -> float:
        return high

    assert [backoff(n, chance=most) for n in range(1, 10)] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert backoff(10**6) <= MOST
    assert backoff(1, asked=600) == 600
    assert backoff(1, asked=10**9) == MOST
    assert 22.5 <= backoff(1) <= 30


def test_what_failed_waits_for_its_time_and_those_behind_it_in_its_run_with_it(fresh: Fresh) -> None:
    ledger, conninfo = fresh
    say(ledger, ("r1", "a"), ("r1", "b"), ("r2", "c"))
    sink = away("a", "c")
    first = ledger.relay(sink)
    assert (first.delivered, first.waiting) == (0, 3)
    assert [(one.run_id, one.said, one.refused, one.attempts) for one in first.failures] == [
        ("r1", "nobody answers.", False, 1),
        ("r2", "nobody answers.", False, 1),
    ]
    sink.failing.clear()
    assert ledger.relay(sink).delivered == 0
    assert ledger.busy_sinks(["heard"]) == ["heard"]
    with sql(conninfo) as db:
        waits = "next_try_at - tried_at BETWEEN '20 s' AND '35 s'"
        assert db.execute(f"SELECT count(*) AS n FROM _migration_deliveries WHERE {waits}").fetchone() == {
            "n": 2
        }
    run(conninfo, "UPDATE _migration_deliveries SET next_try_at = clock_timestamp() WHERE outbox_id = 1")
    assert ledger.relay(sink).delivered == 2
    assert sink.numbers == ["a", "b"]
    # One that arrived says that the sink is back: the other does not wait out its time.
    assert ledger.relay(sink).delivered == 1
    assert ledger.busy_sinks(["heard"]) == []
    assert ledger.busy_sinks(["heard", "another"]) == ["another"]


def test_what_was_refused_is_not_tried_sooner_because_others_arrive(fresh: Fresh) -> None:
    ledger, _ = fresh
    say(ledger, ("r1", "a"), ("r2", "b"))
    sink = Heard("a")
    sink.error = Refused("it says 400.")
    first = ledger.relay(sink)
    assert (first.delivered, [one.refused for one in first.failures]) == (1, [True])
    sink.failing.clear()
    assert ledger.relay(sink).delivered == 0
    assert ledger.relay(sink, at_once=True).delivered == 1
    assert sink.numbers == ["b", "a"]


def test_a_sink_that_is_down_is_asked_three_times_and_left_alone(fresh: Fresh) -> None:
    ledger, _ = fresh
    say(ledger, *((f"r{n}", str(n)) for n in range(1, 6)))
    result = ledger.relay(away(*"12345"))
    assert (len(result.failures), result.waiting) == (3, 5)


def test_an_event_is_given_what_every_event_has(fresh: Fresh) -> None:
    ledger, _ = fresh
    say(ledger, ("r1", "a"))
    sink = Heard()
    ledger.relay(sink, also={"environment": "staging", "n": "never over its own"})
    assert sink.events[0][0].data == {"environment": "staging", "n": "a"}


def test_what_a_carrier_has_counts_once_it_is_seen_to_have_arrived(fresh: Fresh) -> None:
    ledger, _ = fresh
    say(ledger, ("r1", "a"), ("r1", "b"))
    sink = Carrier()
    first = ledger.relay(sink)
    assert (first.handed, first.delivered, first.waiting) == (2, 0, 0)
    assert ledger.busy_sinks(["heard"]) == ["heard"]
    say(ledger, ("r1", "c"))
    sink.carrier = "second"
    # The first may still arrive: what is behind it does not overtake it.
    assert ledger.relay(sink).handed == 0
    sink.known = {event.id for event, _ in sink.events}
    second = ledger.relay(sink)
    assert (second.delivered, second.handed) == (2, 1)
    assert sink.numbers == ["a", "b", "c"]
    sink.carrier, sink.known = "third", {event.id for event, _ in sink.events}
    assert ledger.relay(sink).delivered == 1
    assert ledger.busy_sinks(["heard"]) == []
    assert ledger.pending_events() == 0


def test_what_died_with_its_carrier_is_handed_over_again_in_order(fresh: Fresh) -> None:
    ledger, conninfo = fresh
    say(ledger, ("r1", "a"), ("r1", "b"))
    sink = Carrier()
    ledger.relay(sink)
    sink.carrier = "second"
    assert ledger.relay(sink).handed == 0
    run(conninfo, "UPDATE _migration_deliveries SET handed_at = handed_at - interval '61 s'")
    assert ledger.relay(sink).handed == 2
    assert sink.numbers == ["a", "b", "a", "b"]
    assert [tried for _, tried in sink.events] == [False, False, True, True]


def test_a_carrier_is_not_given_what_happened_long_ago(fresh: Fresh) -> None:
    ledger, conninfo = fresh
    say(ledger, ("r1", "a"))
    run(conninfo, "UPDATE _migration_outbox SET at = at - interval '2 h'")
    say(ledger, ("r2", "b"))
    sink = Carrier()
    assert ledger.relay(sink).handed == 1
    assert sink.numbers == ["b"]
    everything = Heard()
    everything.name = "everything"
    assert ledger.relay(everything).delivered == 2


def test_it_says_since_when_the_oldest_waits_and_looks_without_touching(fresh: Fresh) -> None:
    ledger, conninfo = fresh
    say(ledger, ("r1", "a"), ("r2", "b"))
    run(conninfo, "UPDATE _migration_outbox SET at = at - interval '30 h' WHERE id = 1")
    assert ledger.waiting_for("heard") == 2
    with sql(conninfo) as db:
        assert db.execute("SELECT FROM _migration_deliveries").fetchall() == []
    result = ledger.relay(away("a", "b"))
    assert result.oldest is not None
    assert result.oldest < datetime.now(timezone.utc) - timedelta(hours=29)
    assert ledger.waiting_for("heard") == 2


#: fifty relays, each killed with -9 around one delivery, before or after it, while events keep being said
KILLED = """
import os, random, signal, sys
from lockstep.domain.errors import Unavailable
from lockstep.stores.ledger import PostgresLedger

conninfo, heard = sys.argv[1:]
chance = random.Random(7)


class Sink:
    name = "heard"

    def deliver(self, event, *, tried_before):
        if self.when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        with open(heard, "a") as file:
            file.write(f"{event.id} {event.data['run']} {event.data['n']} {tried_before}\\n")
        if self.when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        self.when = chance.choice(["before", "after", "after", "later"])


for number in range(50):
    chance.random()
    child = os.fork()
    if child == 0:
        ledger = PostgresLedger(conninfo)
        run = f"r{number % 5 + 1}"
        with ledger.unit() as unit:
            unit.say(run, "migration.applied", {"n": number, "run": run})
        if number % 10 == 9:
            try:
                with ledger.unit() as unit:
                    unit.say(run, "migration.failed", {"n": -1, "run": run})
                    raise Unavailable("it did not happen")
            except Unavailable:
                pass
        sink = Sink()
        sink.when = "before" if number % 2 else "after"
        ledger.relay(sink, at_once=True)
        os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL, status
"""


def test_after_fifty_kills_every_event_arrived_in_order_and_none_that_did_not_happen(
    fresh: Fresh, tmp_path: Path
) -> None:
    ledger, conninfo = fresh
    heard = tmp_path / "heard"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, conninfo, str(heard)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr

    class Rest(Heard):
        def deliver(self, event: Event, *, tried_before: bool) -> None:
            with heard.open("a") as file:
                file.write(f"{event.id} {event.data['run']} {event.data['n']} {tried_before}\n")

    while ledger.relay(Rest(), at_once=True).delivered:
        pass
    lines = [line.split() for line in heard.read_text().splitlines()]
    once = {event_id: (run, int(number)) for event_id, run, number, _ in lines}
    assert sorted(number for _, number in once.values()) == list(range(50))
    for run_id in ("r1", "r2", "r3", "r4", "r5"):
        numbers = [number for run, number in once.values() if run == run_id]
        assert numbers == sorted(numbers)
    # Whoever hears it again is told that it may be the second time.
    seen: set[str] = set()
    for event_id, _, _, tried_before in lines:
        assert (tried_before == "True") >= (event_id in seen)
        seen.add(event_id)
    assert len(lines) > len(once)
    assert ledger.busy_sinks(["heard"]) == []
