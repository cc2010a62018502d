"""Approvals: which revisions need one, what they are bound to, and what voids them; by the ledger's own word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from driver import Driver
from looking import look, looking
from revisions import write
from test_planning import INDEX, rehearsed
from three_stores import PLAN, fill
from world import World

from lockstep.domain.approval import Approval, Standing
from lockstep.domain.chain import load_chain
from lockstep.domain.environment import Environment
from lockstep.domain.errors import Refused
from lockstep.domain.plan import PlannedRevision
from lockstep.domain.run import Caller
from lockstep.engine.approving import Answered, approve, refuse_void, reject
from lockstep.engine.planning.planning import make_plan
from lockstep.engine.routing import plan_route
from lockstep.engine.services import Services

ALL = Environment("production")
CALLER = Caller(dag_id="migrate", dag_run_id="m1", by="deploy")


class Asking:
    """A world with two revisions, and what a plan says of them under a policy."""

    def __init__(self, world: World, driver: Driver, environment: Environment = ALL) -> None:
        self.world = world
        self.services = replace(driver.services(driver.bomb), environment=environment)
        self.services.ledger.check()

    def under(self, environment: Environment) -> Services:
        return replace(self.services, environment=environment)

    def plan(self, environment: Environment = ALL) -> list[PlannedRevision]:
        services = self.under(environment)
        chain = load_chain(self.world.migrations)
        hops = plan_route(services, chain, target="head", direction="upgrade")
        return list(
            make_plan(
                services, chain, hops, target="head", direction="upgrade", look=look(self.world)
            ).revisions
        )

    def first(self) -> PlannedRevision:
        return self.plan()[0]

    def approve(self) -> Approval:
        (kept,) = approve(self.services, [self.first().mark], CALLER, Answered(by="Olga"))
        return kept

    def history(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.services.ledger.history() if entry["kind"] == kind]

    def edit(self, revision: str = "0001") -> None:
        path = self.world.migrations / f"{revision}.py"
        path.write_bytes(path.read_bytes() + b"\n")


@pytest.fixture
def asking(world: World, driver: Driver) -> Asking:
    fill(world)
    world.run("ANALYZE users")
    write(world.migrations, "0001", None, PLAN, name="0001.py")
    write(world.migrations, "0002", "0001", INDEX, name="0002.py")
    return Asking(world, driver)


def test_the_policy_says_which_revisions_need_a_person(asking: Asking) -> None:
    def needed(environment: Environment) -> list[bool]:
        return [one.approval.state is Standing.NEEDED for one in asking.plan(environment)]

    assert needed(Environment("staging")) == [False, False]
    assert needed(ALL) == [True, True]
    # 0001 overwrites what only its journal knows; 0002 adds a column.
    assert needed(Environment("staging", approve="lossy")) == [True, False]
    assert needed(Environment("staging", approve="above", approve_above=100)) == [True, False]
    assert needed(Environment("staging", approve="above", approve_above=200)) == [False, False]


def test_an_approval_counts_until_its_run_has_ended(asking: Asking, driver: Driver) -> None:
    kept = asking.approve()
    assert (kept.by, kept.environment, kept.policy) == ("Olga", "production", "all")
    assert approve(asking.services, [asking.first().mark], CALLER, Answered(by="Olga")) == []
    assert [one.approval.state for one in asking.plan()] == [Standing.APPROVED, Standing.NEEDED]
    assert asking.services.ledger.verify_history() is None
    (entry,) = asking.history("approved")
    assert (entry["who"], entry["detail"]["revision"], entry["detail"]["checksum"]) == (
        "Olga",
        "0001",
        kept.mark.checksum,
    )
    driver.go("0001")
    driver.go("0001", "downgrade")

    assert asking.first().approval.state is Standing.NEEDED


def test_no_is_kept_too_and_stops_it(asking: Asking) -> None:
    for _ in range(2):  # the second time because the process that heard it was killed
        with pytest.raises(Refused, match="Olga rejected it: upgrade of '0001'"):
            reject(asking.services, [asking.first().mark], CALLER, Answered(by="Olga"))

    assert [entry["who"] for entry in asking.history("rejected")] == ["Olga"]
    assert asking.first().approval.state is Standing.NEEDED


def test_a_byte_of_an_approved_revision_voids_its_approval_by_name(asking: Asking) -> None:
    kept = asking.approve()
    asking.edit()
    one = asking.first()
    assert one.approval.state is Standing.VOID

    with pytest.raises(Refused, match=r"revision '0001' \(.*0001.py\) was edited after Olga approved it"):
        refuse_void(asking.services, one.mark, one.approval)

    (void,) = asking.services.ledger.approvals("0001")
    assert void.voided_at is not None
    (entry,) = asking.history("approval_void")
    assert entry["detail"]["approval"] == kept.id
    assert "was edited after" in entry["detail"]["reason"]
    # Whoever asks again asks a person.
    assert asking.first().approval.state is Standing.NEEDED


def test_a_byte_of_the_report_that_was_seen_voids_it_too(
    asking: Asking, driver: Driver, world: World
) -> None:
    rehearsal = rehearsed(asking.services, world, "0001", b'{"verdict": "green"}')
    kept = asking.approve()
    assert kept.mark.report_sha256 == rehearsal.report_sha256
    later = rehearsed(asking.services, world, "0001")
    assert later.id != rehearsal.id
    assert asking.first().approval.state is Standing.APPROVED
    asking.services.vault.put(f"{rehearsal.folder}/report.json", b'{"verdict": "Green"}')

    one = asking.first()

    assert one.approval.state is Standing.VOID
    with pytest.raises(
        Refused, match=f"report of rehearsal '{rehearsal.id}'.*is not what the rehearsal wrote"
    ):
        refuse_void(asking.services, one.mark, one.approval)


def test_what_the_file_imports_is_a_part_of_what_is_approved(asking: Asking) -> None:
    kept = asking.approve()
    one = asking.first()
    other = replace(one.mark, plan_sha256="0" * 64)
    from lockstep.domain.looking import Size
    from lockstep.engine.approving import allowed

    revision = load_chain(asking.world.migrations)["0001"]
    found = allowed(asking.services, revision, other, Size())

    assert found.state is Standing.VOID
    assert "resources.py" in found.why
    assert found.approval == kept


def test_a_plan_that_only_looks_sees_approvals_and_voids_none(
    asking: Asking, driver: Driver, world: World
) -> None:
    asking.approve()
    asking.edit()
    services = looking(driver, world, ALL)
    chain = load_chain(world.migrations)
    hops = plan_route(services, chain, target="head", direction="upgrade")

    made = make_plan(services, chain, hops, target="head", direction="upgrade", look=look(world))

    assert made.revisions[0].approval.state is Standing.VOID
    with pytest.raises(Refused, match="only looked at"):
        refuse_void(services, made.revisions[0].mark, made.revisions[0].approval)
    assert asking.services.ledger.approvals("0001")[0].voided_at is None
