"""A failure at every batch, and a kill -9 at every place of the way back: all stores are what they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from driver import Driver, PlainLog
from three_stores import BATCHES, ONCE, SMALL, UNTRUE, Failing, counters, ready, scratches, walked
from world import World, factory_of

from chaos.herd import Herd, herd_in
from lockstep.domain.progress import Phase
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.putting_back import put_back
from lockstep.engine.recording import record
from lockstep.engine.undo import verify_restored, way_down

UNDONE = ["upgrading", "rolling_back", "rolled_back"]


@pytest.fixture
def driver(world: World) -> Driver:
    log = PlainLog()
    return Driver(services=factory_of(world, log, **SMALL), migrations=world.migrations, log=log, shards=1)


@pytest.fixture
def herd(world: World, tmp_path: Path) -> Iterator[Herd]:
    with herd_in(world, tmp_path) as made:
        yield made


def test_the_plan_has_as_many_batches_as_are_made_to_fail(world: World, driver: Driver) -> None:
    ready(world)
    driver.bomb = counted = Failing("batch written", BATCHES + 1)
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    assert counted.seen == BATCHES
    assert counters(world) == ONCE


@pytest.mark.parametrize("policy", ["downgrade", "restore"])
@pytest.mark.parametrize("batch", range(1, BATCHES + 1))
def test_a_failure_at_any_batch_leaves_every_store_as_it_was(
    world: World, driver: Driver, batch: int, policy: str
) -> None:
    before = ready(world)
    driver.bomb = Failing("batch written", batch)
    run = driver.go("0001", on_failure=policy)
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert f"made to fail at batch written number {batch}" in (run.error or "")
    assert world.hashes() == before
    assert walked(world, run.id) == UNDONE
    assert bool(run.facts.get("put_back")) is (policy == "restore")
    assert scratches(driver) == []
    driver.bomb = lambda place: None
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    assert counters(world) == ONCE


def failed(world: World, driver: Driver, policy: str) -> tuple[Revision, Run]:
    """Bring a run to where its way back begins: everything was done, and the verification failed."""
    _, revision, run = driver.open("0001", on_failure=policy)
    driver.going_up(revision, run)
    way = way_down(driver.services(driver.bomb), revision, run)
    assert way == ("restore" if policy == "restore" else "undo")
    assert counters(world) == ONCE
    return revision, run


def killed(herd: Herd, run: Run, phase: Phase | str, place: str, times: int, *, step: int = 1) -> None:
    """Let a worker come to a place, and kill it there with -9."""
    worker = herd.start(run, phase, step=step, freeze=(place, times), **SMALL)  # type: ignore[arg-type]
    worker.wait_until_frozen()
    assert worker.reached(place) == times
    assert worker.kill()


#: step of the upgrade that is taken back, and where; the last step goes first
PLACES = [
    *((3, "batch taken back", k) for k in (1, 2, 3)),
    *((2, "batch taken back", k) for k in (1, 2, 3)),
    *((1, "batch written", k) for k in (1, 2, 3)),
    *((1, "batch committed", k) for k in (1, 2, 3)),
]


@pytest.mark.parametrize(("step", "place", "times"), PLACES)
def test_a_kill_9_at_any_place_of_the_downgrade_leaves_every_store_as_it_was(
    world: World, driver: Driver, herd: Herd, step: int, place: str, times: int
) -> None:
    before = ready(world, UNTRUE)
    revision, run = failed(world, driver, "downgrade")
    for later in range(3, step, -1):
        driver.step(revision, run, "undo", later)
    killed(herd, run, "undo", place, times, step=step)
    assert world.status("0001") == "rolling_back"
    assert driver.phase(revision, run, "undo"), driver.log.text
    services = driver.services(driver.bomb)
    verify_restored(services, revision, run)
    assert record(services, revision, run).status is RunStatus.ROLLED_BACK
    assert world.hashes() == before
    assert walked(world, run.id) == UNDONE


@pytest.mark.parametrize(
    ("place", "times"), [(place, k) for place in ("copy loaded", "database put back") for k in (1, 2, 3)]
)
def test_a_kill_9_at_any_place_of_putting_back_leaves_every_store_as_it_was(
    world: World, driver: Driver, herd: Herd, place: str, times: int
) -> None:
    before = ready(world, UNTRUE)
    revision, run = failed(world, driver, "restore")
    killed(herd, run, "put back", place, times)
    assert world.status("0001") == "rolling_back"
    services = driver.services(driver.bomb)
    put_back(services, revision, run)
    assert record(services, revision, run).status is RunStatus.ROLLED_BACK
    assert world.hashes() == before
    assert walked(world, run.id) == UNDONE
    assert scratches(driver) == []
