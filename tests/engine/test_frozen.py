"""Workers that stand still for twice the lease, are taken over and wake up; workers with wrong clocks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from driver import Driver, PlainLog
from revisions import write
from world import World, factory_of

from chaos.grounds import BODIES, Ground, opened, ready, wait_until_expired
from chaos.herd import Herd, Worker, herd_in
from lockstep.domain.errors import Refused
from lockstep.domain.progress import Phase
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.recording import record
from lockstep.engine.undo import verify_restored, way_down
from lockstep.engine.verify import verify

#: seconds; a worker that stands still is waited for until it is silent for as long again
LEASE = 2.0
COUNT = {"rows": 300, "documents": 300, "objects": 60}
SMALL = {"batch_rows": 50, "batch_documents": 50, "batch_objects": 10, "lease_seconds": LEASE}
TEN_MINUTES = 600.0

#: body of the revision, where its worker stops itself, and at the how manieth time
PLACES = [
    ("rows by SQL", "batch opened", 2),
    ("rows by SQL", "batch written", 2),
    ("rows by a function", "batch written", 3),
    ("rows by SQL with a reverse", "batch committed", 2),
    ("documents by a function", "batch journaled", 2),
    ("documents by operators", "batch journaled", 2),
    ("documents by a function", "batch written", 3),
    ("objects by a function", "batch journaled", 2),
    # In the middle of a batch of ten.
    ("objects by a function", "object begun", 14),
    ("objects' metadata by a function", "object sent", 15),
]


@pytest.fixture
def driver(world: World) -> Driver:
    log = PlainLog()
    return Driver(services=factory_of(world, log, **SMALL), migrations=world.migrations, log=log)


@pytest.fixture
def herd(world: World, tmp_path: Path) -> Iterator[Herd]:
    with herd_in(world, tmp_path) as made:
        yield made


def frozen(
    herd: Herd, run: Run, at: str, times: int, phase: Phase = "upgrade", *, clock: float = 0.0
) -> Worker:
    """Start a worker and return once it has stopped itself."""
    worker = herd.start(run, phase, freeze=(at, times), clock=clock, **SMALL)
    worker.wait_until_frozen()
    worker.wait_until_told(at, times)
    return worker


def does_all(herd: Herd, run: Run, phase: Phase = "upgrade", *, clock: float = 0.0) -> None:
    """Let another process do what is left."""
    ended = herd.start(run, phase, clock=clock, **SMALL).end()
    assert ended["how"] == "done", ended


def state(world: World) -> dict[str, Any]:
    """Return all that a late worker could still change, the ledger included."""
    return {
        **world.hashes(),
        "shards": world.rows(
            "SELECT phase, step, shard, state, epoch, cursor, batches, read, written, done"
            " FROM _migration_shards ORDER BY 1, 2, 3",
            world.ledger_uri,
        ),
        "batches": world.rows("SELECT * FROM _migration_batches ORDER BY seq", world.ledger_uri),
        "runs": world.rows("SELECT id, status, epoch, error FROM _migration_runs", world.ledger_uri),
    }


def wakes_up_and_writes_nothing(world: World, sleeper: Worker) -> None:
    before = state(world)
    sleeper.wake()
    ended = sleeper.end()
    assert sleeper.reached("awake") == 1
    # A worker that held a transaction finds it ended by its successor.
    assert ended["how"] in ("StaleEpoch", "Unavailable"), ended
    assert state(world) == before


def finishes(driver: Driver, revision: Revision, run: Run) -> None:
    services = driver.services(driver.bomb)
    verify(services, revision, run)
    assert record(services, revision, run).status is RunStatus.APPLIED


def once_each(ground: Ground, body: str) -> None:
    assert ground.counters(body) == list(range(2, ground.count + 2))


@pytest.mark.parametrize(("body", "at", "times"), PLACES)
def test_a_frozen_worker_is_taken_over_by_another_dag_run_and_writes_nothing_when_it_wakes_up(
    world: World, driver: Driver, herd: Herd, body: str, at: str, times: int
) -> None:
    ground, revision, run = ready(world, driver, body, COUNT[body.split(" ")[0].removesuffix("'")])
    driver.living = {run.caller.dag_run_id}
    sleeper = frozen(herd, run, at, times)
    with pytest.raises(Refused, match="holds the chain"):
        driver.open("0001")
    wait_until_expired(driver, run, LEASE)
    _, _, taken = driver.open("0001")
    assert (taken.id, taken.epoch) == (run.id, run.epoch + 1)
    does_all(herd, taken)
    finishes(driver, revision, taken)
    wakes_up_and_writes_nothing(world, sleeper)
    once_each(ground, body)


@pytest.mark.parametrize(("body", "at", "times"), [PLACES[1], PLACES[4], PLACES[8]])
def test_a_frozen_worker_is_followed_by_its_own_retry_and_writes_nothing_when_it_wakes_up(
    world: World, driver: Driver, herd: Herd, body: str, at: str, times: int
) -> None:
    ground, revision, run = ready(world, driver, body, COUNT[body.split(" ")[0].removesuffix("'")])
    sleeper = frozen(herd, run, at, times)
    does_all(herd, run)
    finishes(driver, revision, run)
    wakes_up_and_writes_nothing(world, sleeper)
    once_each(ground, body)


@pytest.mark.parametrize("clocks", [(TEN_MINUTES, -TEN_MINUTES), (-TEN_MINUTES, TEN_MINUTES)])
@pytest.mark.parametrize(("body", "at", "times"), [PLACES[1], PLACES[4], PLACES[7]])
def test_workers_whose_clocks_are_ten_minutes_off_hold_and_lose_their_lease_like_any_other(
    world: World, driver: Driver, herd: Herd, body: str, at: str, times: int, clocks: tuple[float, float]
) -> None:
    ground, revision, run = ready(world, driver, body, COUNT[body.split(" ")[0].removesuffix("'")])
    driver.living = {run.caller.dag_run_id}
    first, second = clocks
    sleeper = frozen(herd, run, at, times, clock=first)
    with pytest.raises(Refused, match="holds the chain"):
        driver.open("0001")
    wait_until_expired(driver, run, LEASE)
    _, _, taken = driver.open("0001")
    does_all(herd, taken, clock=second)
    finishes(driver, revision, taken)
    wakes_up_and_writes_nothing(world, sleeper)
    once_each(ground, body)
    for worker, off in zip(herd.workers, clocks, strict=True):
        told = next(event for event in worker.events if event["event"] == "ready")
        assert datetime.fromisoformat(told["now"]).timestamp() == pytest.approx(told["time"], abs=5)
        assert told["time"] == pytest.approx(run.started_at.timestamp() + off, abs=120)


def test_a_worker_frozen_before_its_one_transaction_commits_writes_nothing_when_it_wakes_up(
    world: World, driver: Driver, herd: Herd
) -> None:
    ground = Ground(world=world, store="rows", count=300)
    ground.fill()
    write(world.migrations, "0001", None, 'transaction = "atomic"\n' + BODIES["rows by SQL"])
    revision, run = opened(driver)
    assert revision.is_atomic("upgrade")
    driver.living = {run.caller.dag_run_id}
    sleeper = frozen(herd, run, "batch written", 1)
    wait_until_expired(driver, run, LEASE)
    _, _, taken = driver.open("0001")
    does_all(herd, taken)
    finishes(driver, revision, taken)
    wakes_up_and_writes_nothing(world, sleeper)
    once_each(ground, "rows by SQL")


@pytest.mark.parametrize(
    ("body", "at", "times"),
    [
        ("rows by SQL", "batch written", 2),
        ("rows by SQL with a reverse", "batch opened", 2),
        ("documents by a function", "batch taken back", 2),
        ("objects by a function", "object begun", 14),
    ],
)
def test_a_worker_frozen_in_an_undo_writes_nothing_when_it_wakes_up(
    world: World, driver: Driver, herd: Herd, body: str, at: str, times: int
) -> None:
    ground, revision, run = ready(world, driver, body, COUNT[body.split(" ")[0].removesuffix("'")])
    before = ground.hash()
    does_all(herd, run)
    services = driver.services(driver.bomb)
    assert way_down(services, revision, run) == "undo"
    driver.living = {run.caller.dag_run_id}
    sleeper = frozen(herd, run, at, times, "undo")
    with pytest.raises(Refused, match="holds the chain"):
        driver.open("0001")
    wait_until_expired(driver, run, LEASE)
    _, _, taken = driver.open("0001")
    does_all(herd, taken, "undo")
    verify_restored(services, revision, taken)
    assert ground.hash() == before
    assert record(services, revision, taken).status is RunStatus.ROLLED_BACK
    wakes_up_and_writes_nothing(world, sleeper)
    assert ground.hash() == before


@pytest.mark.parametrize(
    ("body", "at", "times"),
    [
        ("rows by SQL", "batch written", 2),
        ("documents by a function", "batch journaled", 2),
        ("documents by operators", "batch journaled", 2),
        ("objects by a function", "batch journaled", 2),
        ("objects by a function", "object begun", 14),
        ("objects' metadata by a function", "object begun", 17),
    ],
)
def test_a_worker_that_sleeps_through_the_undo_of_its_batch_does_not_write_it_again(
    world: World, driver: Driver, herd: Herd, body: str, at: str, times: int
) -> None:
    ground, revision, run = ready(world, driver, body, COUNT[body.split(" ")[0].removesuffix("'")])
    before = ground.hash()
    sleeper = frozen(herd, run, at, times)
    services = driver.services(driver.bomb)
    assert way_down(services, revision, run) == "undo"
    does_all(herd, run, "undo")
    verify_restored(services, revision, run)
    assert record(services, revision, run).status is RunStatus.ROLLED_BACK
    wakes_up_and_writes_nothing(world, sleeper)
    # Every record is its before-image again, so that the condition on the record alone would let the batch in.
    assert ground.hash() == before
