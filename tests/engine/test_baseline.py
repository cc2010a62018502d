"""A baseline adopts databases that are at a revision already, and claims nothing that is not so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from caring import USERS, by, notes
from driver import Driver
from revisions import write
from world import World

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import Refused
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.baselining import Adoption, adopt, plan_baseline
from lockstep.engine.readiness import check_way_down, readiness

NICK = """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN nick text", touches=[Users])

def downgrade():
    yield ops.drop_column(Users, "nick")

def verify():
    yield ops.expect_count(Users, 50, where="nick IS NULL")
"""
SHOUT = """
def upgrade():
    yield ops.transform_rows(Users, shout)

def downgrade():
    yield ops.restore(Users)

def verify():
    yield ops.expect_none(Users, where="name <> upper(name)")

def shout(user):
    return {**user, "name": user["name"].upper()}
"""
AGE = """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN age int", touches=[Users])

def downgrade():
    yield ops.drop_column(Users, "age")
"""


@pytest.fixture
def at_0002(world: World) -> World:
    """Leave databases that somebody brought to 0002 before Lockstep was there."""
    world.run(USERS)
    world.run("ALTER TABLE users ADD COLUMN nick text; UPDATE users SET name = upper(name)")
    write(world.migrations, "0001", None, NICK)
    write(world.migrations, "0002", "0001", SHOUT)
    write(world.migrations, "0003", "0002", AGE)
    return world


def plan(driver: Driver, target: str = "0002", **more: Any) -> Adoption:
    services = driver.services(lambda place: None)
    services.ledger.check()
    chain = load_chain(driver.migrations)
    return plan_baseline(services, chain, services.ledger.revisions(), target=target, **more)


def baseline(
    driver: Driver, target: str = "0002", reason: str = "restored from prod", **more: Any
) -> list[Run]:
    planned = plan(driver, target, **more)
    services = driver.services(lambda place: None)
    return adopt(services, load_chain(driver.migrations), planned, caller=by(), params={}, reason=reason)


def test_it_marks_what_is_there_and_the_next_run_goes_on_from_it(at_0002: World, driver: Driver) -> None:
    before = at_0002.hashes()
    first, second = baseline(driver)

    assert (first.status, first.backed_up) == (RunStatus.BASELINED, False)
    assert [at_0002.status(name) for name in ("0001", "0002")] == ["applied", "applied"]
    assert at_0002.hashes() == before
    assert [one["detail"]["reason"] for one in notes(driver, "baselined")] == ["restored from prod"] * 2
    assert {one["who"] for one in notes(driver, "baselined")} == {"vera"}
    services = driver.services(lambda place: None)
    run_id, _, shape = services.ledger.shapes()["campus_auth"]
    assert run_id == second.id
    assert any("users" in name for name in shape)
    kept = json.loads(services.vault.get(f"archive/{second.id}.json"))
    assert kept["revision"]["source"] == (at_0002.migrations / "0002_step.py").read_text()
    # Tried again, it marks nothing twice.
    assert [run.id for run in baseline_again(driver)] == [first.id, second.id]
    assert driver.go("0003").status is RunStatus.APPLIED
    assert driver.go("0003", "downgrade").status is RunStatus.DOWNGRADED


def baseline_again(driver: Driver) -> list[Run]:
    chain = load_chain(driver.migrations)
    planned = Adoption(target="0002", revisions={one.id: one.checksum for one in chain.revisions[:2]})
    services = driver.services(lambda place: None)
    return adopt(services, chain, planned, caller=by(), params={}, reason="restored from prod")


def test_what_restores_cannot_be_taken_back_and_its_own_operations_can(
    at_0002: World, driver: Driver
) -> None:
    baseline(driver)
    services = driver.services(lambda place: None)
    chain = load_chain(driver.migrations)

    second, first = readiness(services, chain)
    assert second.lossy
    assert "was baselined by run" in str(second.losses[0].loses)
    assert second.backups == ()
    assert not first.lossy
    with pytest.raises(Refused, match="would lose data for good"):
        check_way_down(services, chain, ["0002"], {})
    with pytest.raises(Refused, match="no journal and no backup to restore"):
        driver.open("0002", "downgrade", lossy=True)
    assert at_0002.status("0002") == "applied"


def test_a_baselined_revision_with_a_downgrade_of_its_own_goes_down(at_0002: World, driver: Driver) -> None:
    baseline(driver, "0001")

    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED
    columns = at_0002.rows("SELECT column_name FROM information_schema.columns WHERE table_name = 'users'")
    assert ("nick",) not in columns
    assert at_0002.status("0001") == "rolled_back"


def test_data_that_is_not_there_is_refused_by_name(at_0002: World, driver: Driver) -> None:
    at_0002.run("UPDATE users SET name = 'small' WHERE id = 7")

    with pytest.raises(Refused, match=r"revision 0002: expected .*1 record"):
        plan(driver)
    assert plan(driver, unverified=["0002"]).unverified == ("0002",)
    assert plan(driver, "0001").unverified == ()
    at_0002.run("DROP TABLE users")
    with pytest.raises(Refused, match=r"revision 0001: expected .*cannot be asked"):
        plan(driver, "0001")
    with pytest.raises(Refused, match="no revision '0009'"):
        plan(driver, unverified=["0009"])


def test_what_is_applied_must_be_where_it_begins(at_0002: World, driver: Driver) -> None:
    baseline(driver, "0001")

    assert list(plan(driver).revisions) == ["0002"]
    with pytest.raises(Refused, match="only adds what follows"):
        plan(driver, "base")
    with pytest.raises(Refused, match="no reason"):
        baseline(driver, reason=" ")
    planned = plan(driver)
    (at_0002.migrations / "0002_step.py").write_text(
        (at_0002.migrations / "0002_step.py").read_text() + "# edited\n"
    )
    services, chain = driver.services(lambda place: None), load_chain(driver.migrations)
    with pytest.raises(Refused, match="has moved since"):
        adopt(services, chain, planned, caller=by(3), params={}, reason="x")
    assert at_0002.status("0002") == "pending"
