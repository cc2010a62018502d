"""A backup put back after a failure, a crash or a kill, and restores that are killed themselves."""

from __future__ import annotations

import pytest
from driver import Bomb, Crash, Driver
from restored import THREE, UNDOABLE, USERS, died, fill
from restorer import Restorer, restorer
from revisions import write
from world import World

from lockstep.domain.errors import Refused
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.backup import take_backup
from lockstep.engine.proving import prove_backups
from lockstep.engine.services import Services
from lockstep.engine.steps import plan_step, run_step_shard

__all__ = ["restorer"]


def half_done(world: World, driver: Driver, *, batch: int = 2) -> str:
    """Leave an upgrade half-way: its worker is gone in a batch, its lease is held, its DAG run lives."""
    write(world.migrations, "0001", None, "from dataclasses import replace\n" + THREE)
    driver.bomb = Bomb("batch committed", batch)
    _, revision, run = driver.open("0001")
    driver.living = {run.caller.dag_run_id}
    services = driver.services(driver.bomb)
    for database in revision.databases:
        take_backup(services, revision, run, database)
    prove_backups(services, revision, run)
    with pytest.raises(Crash):
        upgrade(services, revision, run)
    driver.bomb = lambda place: None
    return run.id


def upgrade(services: Services, revision: Revision, run: Run) -> None:
    for step in range(1, len(revision.upgrade) + 1):
        for shard in range(len(plan_step(services, revision, run, "upgrade", step, shards=2))):
            run_step_shard(services, revision, run, "upgrade", step, shard, holder="first")


@pytest.mark.parametrize("batch", [1, 2, 4, 6])
def test_a_backup_that_was_taken_while_a_lease_was_held_leaves_nothing_in_the_way(
    world: World, driver: Driver, restorer: Restorer, batch: int
) -> None:
    fill(world)
    before = world.hashes()
    left = half_done(world, driver, batch=batch)
    assert world.hashes() != before
    with pytest.raises(Refused, match=f"run {left}.*holds the chain"):
        restorer.open(left)
    driver.living = set()

    run = restorer.restored(left)

    assert world.hashes() == before
    assert world.status("0001") == "rolled_back"
    ledger = driver.services(driver.bomb).ledger
    assert ledger.run(left).status is RunStatus.ROLLED_BACK
    assert run.facts["closes"] == [left]
    assert ledger.lease_age(left) is None
    upgraded = driver.go("0001")
    assert upgraded.status is RunStatus.APPLIED, driver.log.text
    assert world.rows("SELECT sum(n) FROM users") == [(31375 + 250,)]
    assert {note["n"] - int(note["_id"][1:]) for note in world.documents("notes")} == {1}


def test_a_worker_that_wakes_up_behind_a_restore_writes_nothing(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    from lockstep.domain.errors import StaleEpoch

    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, USERS)
    services, revision, run = driver.open("0001")
    for database in revision.databases:
        take_backup(services, revision, run, database)
    prove_backups(services, revision, run)
    plan_step(services, revision, run, "upgrade", 1, shards=1)
    woken: list[str] = []

    def frozen(place: str) -> None:
        """Let a whole restore pass while the worker stands between two batches."""
        if place == "batch committed" and not woken:
            woken.append(place)
            restorer.restored(run.id)

    with pytest.raises(StaleEpoch):
        run_step_shard(driver.services(frozen), revision, run, "upgrade", 1, 0, holder="zombie")
    assert woken
    assert world.hashes() == before


def test_a_failed_run_is_settled_by_its_backup(world: World, driver: Driver, restorer: Restorer) -> None:
    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, UNDOABLE)
    failed = driver.go("0001")
    assert failed.status is RunStatus.FAILED, driver.log.text
    with pytest.raises(Refused, match=f"restore with backup = '{failed.id}'"):
        driver.go("0001")

    restorer.restored(failed.id)

    assert world.hashes() == before
    assert world.status("0001") == "rolled_back"
    write(world.migrations, "0001", None, USERS)
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text


def test_a_part_of_a_failed_upgrade_can_be_put_back_and_resume_takes_back_the_rest(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    fill(world)
    before = world.hashes()
    left = half_done(world, driver, batch=6)
    driver.living = set()

    restorer.restored(left, only=["users"])

    assert world.status("0001") == "failed"
    resumed = driver.go("0001", resume=True)
    assert resumed.id == left
    assert resumed.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before


def test_a_backup_before_a_downgrade_makes_the_revision_applied_again_with_its_way_back(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, "from dataclasses import replace\n" + THREE)
    applied = driver.go("0001")
    after = world.hashes()
    down = driver.go("0001", "downgrade")
    assert down.status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before

    restorer.restored(down.id)

    assert world.hashes() == after
    assert world.status("0001") == "applied"
    state = driver.services(driver.bomb).ledger.revisions()["0001"]
    assert state.applied_run == applied.id
    assert driver.go("0001").status is RunStatus.NOTHING_TO_DO
    again = driver.go("0001", "downgrade")
    assert again.status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before
    assert again.facts["differs_from_before"] == []


PLACES = [
    ("run closed", 1),
    ("overwritten backed up", 1),
    ("overwritten backed up", 3),
    ("copy loaded", 1),
    ("copy loaded", 2),
    ("database put back", 1),
    ("database put back", 3),
    ("database restored", 2),
    ("journals rearmed", 1),
]


@pytest.mark.parametrize(("place", "times"), PLACES)
def test_a_restore_that_is_killed_goes_on_in_the_same_dag_run(
    world: World, driver: Driver, restorer: Restorer, place: str, times: int
) -> None:
    fill(world)
    before = world.hashes()
    left = half_done(world, driver, batch=6)
    driver.living = set()
    bomb = Bomb(place, times)
    driver.bomb = bomb

    restorer.restored(left)

    assert bomb.seen >= times
    assert world.hashes() == before
    driver.bomb = lambda place: None
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text


@pytest.mark.parametrize(("place", "times"), PLACES[::2])
def test_a_restore_whose_dag_run_died_is_carried_on_by_the_next(
    world: World, driver: Driver, restorer: Restorer, place: str, times: int
) -> None:
    fill(world)
    before = world.hashes()
    left = half_done(world, driver, batch=6)
    driver.living = set()
    driver.attempts = 1
    driver.bomb = bomb = Bomb(place, times)
    caller = restorer.caller()
    try:
        run = restorer.open(left, caller)
        driver.living = {caller.dag_run_id}
        with pytest.raises(Refused, match="holds the chain"):
            restorer.open(left)
        died(restorer, run.id, left)
    except Crash:
        pass
    driver.living = set()
    assert bomb.seen == times
    driver.bomb = lambda place: None
    with pytest.raises(Refused, match=r"restore .* was left half-way"):
        driver.go("0001")

    restorer.restored(left)

    assert world.hashes() == before
    assert world.rows(
        "SELECT count(*) FROM _migration_runs WHERE direction = 'restore'", world.ledger_uri
    ) == [(1,)]
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
