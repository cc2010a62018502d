"""A person decides what a failed revision really is, and the next run starts unaided."""

from __future__ import annotations

from typing import Any

import pytest
from caring import USERS, by, notes
from driver import Crash, Driver
from revisions import write
from world import World

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import LockstepError, Refused
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine.readiness import readiness
from lockstep.engine.repairing import Repair, plan_repair, repair
from lockstep.engine.steps import run_step_shard

SHOUT = """
def upgrade():
    yield ops.transform_rows(Users, shout)

def downgrade():
    yield ops.restore(Users)

def verify():
    yield ops.expect_none(Users, where="name <> upper(name)")

def shout(user):
    if user["id"] == 40:
        raise ValueError("forty")
    return {**user, "name": user["name"].upper()}
"""
NEXT = """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN age int", touches=[Users])

def downgrade():
    yield ops.drop_column(Users, "age")
"""


@pytest.fixture
def failed(world: World, driver: Driver) -> Run:
    """Leave a revision failed after a part of its records."""
    world.run(USERS)
    write(world.migrations, "0001", None, SHOUT)
    write(world.migrations, "0002", "0001", NEXT)
    run = driver.go("0001", on_failure="leave", on_undo_failure="leave")
    assert (run.status, world.status("0001")) == (RunStatus.FAILED, "failed")
    return run


def plan(driver: Driver, outcome: str, revision: str = "", force: bool = False) -> Repair:
    services = driver.services(lambda place: None)
    chain = load_chain(driver.migrations)
    return plan_repair(
        services,
        chain,
        revision=revision,
        outcome=outcome,
        force=force,
        alive=lambda one: one.dag_run_id in driver.living,
    )


def settle(driver: Driver, outcome: str, reason: str = "mended by hand", number: int = 1, **more: Any) -> Run:
    planned = plan(driver, outcome, **more)
    services = driver.services(lambda place: None)
    return repair(
        services,
        load_chain(driver.migrations),
        planned,
        caller=by(number),
        params={},
        reason=reason,
        alive=lambda one: one.dag_run_id in driver.living,
    )


def test_rolled_back_it_can_be_applied_again(world: World, driver: Driver, failed: Run) -> None:
    with pytest.raises(Refused, match="trigger the DAG repair"):
        driver.open("0002")
    world.run("UPDATE users SET name = lower(name)")
    run = settle(driver, "rolled_back")

    assert (run.status, run.facts["ended"]) == (RunStatus.REPAIRED, failed.id)
    assert world.status("0001") == "rolled_back"
    [note] = notes(driver, "repaired")
    assert (note["who"], note["detail"]["reason"], note["detail"]["was"]) == (
        "vera",
        "mended by hand",
        "failed",
    )
    # The run that failed is over: a cleared task of it opens nothing again.
    services = driver.services(lambda place: None)
    assert services.ledger.run(failed.id).status is RunStatus.REPAIRED
    assert services.ledger.lease_age(failed.id) is None
    revision = load_chain(driver.migrations)["0001"]
    with pytest.raises(LockstepError, match="ended as repaired"):
        run_step_shard(services, revision, services.ledger.run(failed.id), "upgrade", 1, 0, holder="zombie")
    write(world.migrations, "0001", None, SHOUT.replace("== 40", "== 4000"))
    assert driver.go("0001").status is RunStatus.APPLIED
    assert driver.go("0002").status is RunStatus.APPLIED


def test_applied_must_be_so_in_the_data_or_be_forced(world: World, driver: Driver, failed: Run) -> None:
    with pytest.raises(Refused, match="is not applied: expected"):
        plan(driver, "applied")
    forced = plan(driver, "applied", force=True)
    assert forced.not_held
    assert any("did not end" in line for line in forced.warnings)
    world.run("UPDATE users SET name = upper(name)")
    run = settle(driver, "applied")

    assert run.facts["not_held"] == []
    assert world.status("0001") == "applied"
    [found] = readiness(driver.services(lambda place: None), load_chain(driver.migrations))
    assert found.run_id == failed.id
    assert found.lossy
    assert "a person did instead" in str(found.losses[0].loses)
    assert driver.go("0002").status is RunStatus.APPLIED


def test_it_refuses_what_lives_what_is_named_wrongly_and_what_is_whole(
    world: World, driver: Driver, failed: Run
) -> None:
    with pytest.raises(Refused, match="outcome is ''"):
        plan(driver, "")
    with pytest.raises(Refused, match="'0002' needs no repair"):
        plan(driver, "rolled_back", "0002")
    with pytest.raises(Refused, match="no reason"):
        settle(driver, "rolled_back", "")
    settle(driver, "rolled_back")
    assert settle_again(driver, failed).facts["ended"] == failed.id
    with pytest.raises(Refused, match="nothing is to be repaired"):
        plan(driver, "rolled_back")


def settle_again(driver: Driver, failed: Run) -> Run:
    """Call the task once more, as after a kill, with the plan that it had."""
    planned = Repair(revision="0001", becomes=Status.ROLLED_BACK, now=Status.FAILED, run=failed.id)
    return repair(
        driver.services(lambda place: None),
        load_chain(driver.migrations),
        planned,
        caller=by(),
        params={},
        reason="mended by hand",
        alive=lambda one: False,
    )


def test_a_run_that_was_left_open_ends_with_it(world: World, driver: Driver) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, SHOUT.replace("== 40", "== 4000"))
    before = world.hashes()

    def killed(place: str) -> None:
        if place == "batch committed":
            raise Crash

    driver.bomb, driver.attempts = killed, 1
    _, revision, run = driver.open("0001")
    driver.going_up(revision, run)
    driver.bomb = lambda place: None
    driver.living.add(run.caller.dag_run_id)
    assert world.status("0001") == "upgrading"
    with pytest.raises(Refused, match="works on the chain"):
        plan(driver, "rolled_back")

    driver.living.clear()
    world.run("UPDATE users SET name = lower(name)")
    settle(driver, "rolled_back")
    assert world.status("0001") == "rolled_back"
    assert world.hashes() == before
    assert driver.go("0001").status is RunStatus.APPLIED
