"""A harmless edit of an applied revision is accepted by whoever has seen it, and by nobody else."""

from __future__ import annotations

import pytest
from caring import USERS, by, notes
from driver import Driver
from revisions import write
from world import World

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import Refused
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.accepting import Edit, accept, accepted_since, plan_acceptance, refuse_unseen

NICK = """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN nick text", touches=[Users])

def downgrade():
    yield ops.drop_column(Users, "nick")
"""
NEXT = NICK.replace("nick", "age")


@pytest.fixture
def applied(world: World, driver: Driver) -> Driver:
    world.run(USERS)
    write(world.migrations, "0001", None, NICK)
    write(world.migrations, "0002", "0001", NEXT)
    assert driver.go("0001").status is RunStatus.APPLIED
    return driver


def edit_of(driver: Driver) -> Edit | None:
    services = driver.services(lambda place: None)
    chain = load_chain(driver.migrations)
    return plan_acceptance(services, chain, services.ledger.revisions(), revision="0001")


def accepted(driver: Driver, number: int = 1) -> Run:
    found = edit_of(driver)
    assert found is not None
    services = driver.services(lambda place: None)
    return accept(
        services, load_chain(driver.migrations), found, caller=by(number), params={}, reason="a typo"
    )


def test_a_harmless_edit_is_shown_accepted_and_the_next_run_starts(world: World, applied: Driver) -> None:
    assert edit_of(applied) is None
    path = world.migrations / "0001_step.py"
    path.write_text(path.read_text() + "# nick names\n")
    with pytest.raises(Refused, match="trigger the DAG accept_checksum"):
        applied.open("0002")

    found = edit_of(applied)
    assert found is not None
    assert "+# nick names" in found.diff
    assert found.differs == ()
    for unseen in ("", found.after[:11], found.before[:12]):
        with pytest.raises(Refused, match="first 12 characters"):
            refuse_unseen(found, checksum=unseen, operations=True)
    refuse_unseen(found, checksum=found.after[:12].upper(), operations=False)
    run = accepted(applied)

    assert run.status is RunStatus.CHECKSUM_ACCEPTED
    [note] = notes(applied, "checksum_accepted")
    assert (note["who"], note["detail"]["reason"]) == ("vera", "a typo")
    assert (note["detail"]["before"], note["detail"]["after"]) == (found.before, found.after)
    services = applied.services(lambda place: None)
    assert accepted_since(services, "0001", found.before) == {found.before, found.after}
    assert accepted_since(services, "0001", "other") == {"other"}
    assert applied.go("0002").status is RunStatus.APPLIED
    # The accepted file is kept in its turn.
    path.write_text(path.read_text() + "# again\n")
    again = edit_of(applied)
    assert again is not None
    assert "+# again" in again.diff
    assert "+# nick names" not in again.diff


def test_other_operations_are_refused_unless_they_may_differ(world: World, applied: Driver) -> None:
    path = world.migrations / "0001_step.py"
    path.write_text(path.read_text().replace("nick text", "nick varchar"))
    found = edit_of(applied)

    assert found is not None
    assert found.differs
    assert any("nick varchar" in line for line in found.differs)
    with pytest.raises(Refused, match="other operations than those that were applied"):
        refuse_unseen(found, checksum=found.after[:12], operations=False)
    refuse_unseen(found, checksum=found.after[:12], operations=True)


def test_an_archive_that_is_gone_or_altered_is_not_believed(world: World, applied: Driver) -> None:
    path = world.migrations / "0001_step.py"
    path.write_text(path.read_text() + "# edited\n")
    services = applied.services(lambda place: None)
    run = services.ledger.revisions()["0001"].applied_run
    kept = services.vault.get(f"archive/{run}.json")
    services.vault.put(f"archive/{run}.json", kept.replace(b"nick", b"evil"), "application/json")

    found = edit_of(applied)
    assert found is not None
    assert found.differs is None
    assert found.diff == ()
    with pytest.raises(Refused, match="nobody can tell"):
        refuse_unseen(found, checksum=found.after[:12], operations=False)


def test_what_is_not_applied_or_moved_elsewhere_is_refused(world: World, applied: Driver) -> None:
    services = applied.services(lambda place: None)
    with pytest.raises(Refused, match="There is nothing to accept"):
        plan_acceptance(
            services, load_chain(applied.migrations), services.ledger.revisions(), revision="0002"
        )
    write(world.migrations, "0000", None, NEXT.replace("age", "first"))
    write(world.migrations, "0001", "0000", NICK)
    with pytest.raises(Refused, match="put down_revision back"):
        edit_of(applied)
