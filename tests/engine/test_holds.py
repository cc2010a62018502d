"""A run that must wait: for a person, a window, a signal, or a server; nothing is written, and nothing has failed."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from driver import Bomb, Crash, Driver, PlainLog
from revisions import write
from world import World, factory_of

from chaos.grounds import BODIES, Ground, opened, ready, store_of
from lockstep.domain.errors import Held, Refused
from lockstep.domain.pacing import Signal
from lockstep.domain.resources import Database, Mongo
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run, ShardState
from lockstep.engine import pacing, undo
from lockstep.engine.services import Services, Store
from lockstep.engine.steps import run_step_shard
from lockstep.engine.undo import verify_restored, way_down
from lockstep.stores.mongo.store import MongoStore

SMALL = {"batch_rows": 50, "batch_documents": 50, "batch_objects": 10, "patience": 0.0}
COUNT = {"rows": 300, "documents": 300, "objects": 60}
PER_BATCH = {"rows": 50, "documents": 50, "objects": 10}
BY_STORE = ["rows by SQL", "rows by a function", "documents by a function", "objects by a function"]


@pytest.fixture(autouse=True)
def _asks_each_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Ask before every batch, and not once a second: what is tested is not how long a second is."""
    monkeypatch.setattr(pacing, "EVERY", 0.0)
    monkeypatch.setenv("LOCKSTEP_CALLS", str(tmp_path / "calls"))


@pytest.fixture
def driver(world: World) -> Driver:
    log = PlainLog()
    return Driver(services=factory_of(world, log, **SMALL), migrations=world.migrations, log=log)


def work(services: Services, revision: Revision, run: Run) -> dict[str, Any]:
    return run_step_shard(services, revision, run, "upgrade", 1, 0, holder="test")


def shard(services: Services, run: Run, phase: str = "upgrade") -> ShardState:
    return services.ledger.shards(run.id, phase)[0]


def carried(ground: Ground, body: str) -> int:
    return sum(now == before + 2 for before, now in enumerate(ground.counters(body)))


def start(world: World, driver: Driver, body: str) -> tuple[Ground, Revision, Run]:
    return ready(world, driver, body, COUNT[store_of(body)])


@pytest.mark.parametrize("body", BY_STORE)
def test_a_pause_is_kept_before_the_next_batch_and_a_resume_goes_on_there(
    world: World, driver: Driver, body: str
) -> None:
    ground, revision, run = start(world, driver, body)
    ledger = driver.services(driver.bomb).ledger
    committed = 0

    def pause_after_two(place: str) -> None:
        nonlocal committed
        committed += place == "batch committed"
        if place == "batch committed" and committed == 2:
            ledger.pause(run.id, by="olga", reason="the exam begins")
            time.sleep(0.02)

    services = driver.services(pause_after_two)
    with pytest.raises(Held, match=r"olga paused the run at .* UTC: the exam begins") as held:
        work(services, revision, run)
    assert 1.0 <= held.value.seconds <= 60.0
    assert carried(ground, body) == 2 * PER_BATCH[ground.store]
    assert (shard(services, run).state, shard(services, run).held) == ("held", held.value.reason)
    with pytest.raises(Held):
        work(services, revision, run)
    assert carried(ground, body) == 2 * PER_BATCH[ground.store]
    ledger.resume(run.id, by="olga")
    work(services, revision, run)
    assert ground.counters(body) == list(range(2, ground.count + 2))
    assert (shard(services, run).state, shard(services, run).held) == ("done", None)


def raising() -> str:
    raise RuntimeError("the gauge is broken")


@pytest.mark.parametrize(
    ("signal", "told"),
    [
        (lambda: "stop", "signal mine"),
        (lambda: ("stop", "the nightly import runs"), "signal mine: the nightly import runs"),
        (raising, "cannot be read, which means stop: RuntimeError: the gauge is broken"),
        (lambda: "perhaps", "it answered 'perhaps'"),
        (lambda: 42, "it answered 42"),
        (lambda: False, "it answered False"),
        (lambda: ("stop", "one", "too many"), "it answered"),
    ],
)
@pytest.mark.parametrize("body", ["rows by SQL", "documents by a function"])
def test_a_signal_that_says_stop_or_cannot_be_understood_holds_the_run_by_name(
    world: World, driver: Driver, body: str, signal: Signal, told: str
) -> None:
    ground, revision, run = start(world, driver, body)
    services = replace(driver.services(driver.bomb), signals={"mine": signal, "other": lambda: None})
    with pytest.raises(Held, match="signal mine"):
        work(services, revision, run)
    assert carried(ground, body) == 0
    state = shard(services, run)
    assert state.state == "held"
    assert told in (state.held or "")
    assert f"held, nothing is written: {state.held}" in driver.log.lines
    assert services.ledger.run(run.id).error is None


def test_a_signal_stops_the_writing_within_a_batch_and_lets_it_go_on_when_it_clears(
    world: World, driver: Driver
) -> None:
    body = "rows by SQL"
    ground, revision, run = start(world, driver, body)
    seen: list[int] = []

    def lag() -> Any:
        done = carried(ground, body)
        if done < 100 or len(seen) >= 3:
            return "go"
        seen.append(done)
        return ("stop", f"reading {len(seen)}")

    services = driver.services(driver.bomb)
    services = replace(services, signals={"lag": lag}, settings=replace(services.settings, patience=60.0))
    work(services, revision, run)
    assert seen == [100, 100, 100]
    assert any(line.startswith("goes on after") and "signal lag" in line for line in driver.log.lines)
    assert ground.counters(body) == list(range(2, ground.count + 2))


def test_a_worker_is_given_back_once_its_patience_is_over_and_waits_no_longer(
    world: World, driver: Driver
) -> None:
    _, revision, run = start(world, driver, "rows by SQL")
    asked = []

    def stop() -> Any:
        asked.append(time.monotonic())
        return "stop"

    services = driver.services(driver.bomb)
    services = replace(services, signals={"mine": stop}, settings=replace(services.settings, patience=0.3))
    with pytest.raises(Held):
        work(services, revision, run)
    assert len(asked) > 2
    assert asked[-1] - asked[0] >= 0.25


def test_a_signal_that_says_slow_is_told_once_and_everything_is_done(world: World, driver: Driver) -> None:
    body = "rows by SQL"
    ground, revision, run = start(world, driver, body)
    services = replace(driver.services(driver.bomb), signals={"mine": lambda: ("slow", "half of it")})
    work(services, revision, run)
    assert driver.log.lines.count("at half pace: signal mine: half of it") == 1
    assert ground.counters(body) == list(range(2, ground.count + 2))


TWO = BODIES["rows by SQL"].replace(
    "\ndef downgrade", "    yield ops.update_documents(Notes, {'$inc': {'n': 1}})\n\ndef downgrade"
)


def test_a_database_that_cannot_be_asked_holds_the_run_and_fails_nothing(
    world: World, driver: Driver
) -> None:
    ground = Ground(world=world, store="rows", count=300)
    ground.fill()
    world.insert("notes", [{"_id": 1, "n": 1}])
    write(world.migrations, "0001", None, TWO)
    revision, run = opened(driver)
    here = driver.services(driver.bomb)

    def away(database: Database) -> Store:
        if isinstance(database, Mongo):
            nobody = "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=200"
            return MongoStore(database, nobody, world.mongo_db)
        return here.stores(database)

    services = replace(here, stores=away)
    with pytest.raises(Held, match="signals of campus_documents: it cannot be read, which means stop"):
        work(services, revision, run)
    assert carried(ground, "rows by SQL") == 0
    assert services.ledger.run(run.id).error is None
    work(here, revision, run)
    assert carried(ground, "rows by SQL") == 300


def closed_window() -> str:
    """Return a window that opens in two hours."""
    opens = datetime.now(timezone.utc) + timedelta(hours=2)
    return f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M} UTC"


def test_a_closed_window_holds_the_upgrade_and_not_its_undo(world: World, driver: Driver) -> None:
    body = "rows by SQL"
    ground, revision, run = start(world, driver, body)
    before = ground.hash()
    free = driver.services(driver.bomb)
    work(free, revision, run)
    services = replace(free, settings=replace(free.settings, window=closed_window()))
    assert way_down(services, revision, run) == "undo"
    run_step_shard(services, revision, run, "undo", 1, 0, holder="test")
    verify_restored(services, revision, run)
    assert ground.hash() == before


@pytest.mark.parametrize("body", ["rows by SQL", "documents by a function"])
def test_outside_its_window_a_run_writes_nothing_and_says_when_it_opens(
    world: World, driver: Driver, body: str
) -> None:
    ground, revision, run = start(world, driver, body)
    free = driver.services(driver.bomb)
    services = replace(free, settings=replace(free.settings, window=closed_window()))
    with pytest.raises(Held, match=r"is closed and opens in (1 h 59|2 h 0) min") as held:
        work(services, revision, run)
    assert held.value.seconds <= pacing.WINDOW_AGAIN
    assert carried(ground, body) == 0
    work(free, revision, run)
    assert carried(ground, body) == ground.count


def test_a_run_that_waits_is_not_taken_over_however_long_it_waits(world: World, driver: Driver) -> None:
    _, revision, run = start(world, driver, "rows by SQL")
    services = driver.services(driver.bomb)
    services = replace(services, settings=replace(services.settings, lease_seconds=0.2))
    services.ledger.pause(run.id, by="olga", reason="")
    with pytest.raises(Held):
        work(services, revision, run)
    time.sleep(0.4)
    assert (services.ledger.lease_age(run.id) or 0) > 0
    driver.living = {run.caller.dag_run_id}
    with pytest.raises(Refused, match="It is paused by olga"):
        driver.open("0001")


def test_a_run_that_compares_for_long_what_its_undo_left_is_not_taken_over(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, revision, run = start(world, driver, "rows by SQL")
    services = driver.services(Bomb("batch committed", 2))
    services = replace(services, settings=replace(services.settings, lease_seconds=0.3))
    with pytest.raises(Crash):
        work(services, revision, run)
    services = replace(services, reached=lambda place: None)
    assert way_down(services, revision, run) == "undo"
    run_step_shard(services, revision, run, "undo", 1, 0, holder="test")
    really = undo.fingerprints
    silent: list[bool] = []

    def slowly(*given: Any) -> Any:
        time.sleep(1.0)
        silent.append(services.ledger.silent(run.id))
        return really(*given)

    monkeypatch.setattr(undo, "fingerprints", slowly)
    verify_restored(services, revision, run)
    assert shard(services, run).state == "running"  # the shard that failed will never be done
    assert silent == [False]
