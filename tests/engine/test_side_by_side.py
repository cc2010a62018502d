"""Two environments of one project: what goes on in one holds nothing in the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from caring import USERS
from driver import Driver, PlainLog
from revisions import write
from world import World, factory_of, fresh_world

from lockstep.domain.errors import Refused
from lockstep.domain.status import RunStatus

SHOUT = """
def upgrade():
    yield ops.update_rows(Users, {"name": "upper(name)"})

def downgrade():
    yield ops.restore(Users)
"""


def test_a_run_in_one_holds_nothing_in_the_other(
    world: World, driver: Driver, servers: Any, tmp_path: Path
) -> None:
    with fresh_world(servers, tmp_path / "other") as other:
        there = Driver(services=factory_of(other, PlainLog()), migrations=world.migrations, log=PlainLog())
        for one in (world, other):
            one.run(USERS)
        write(world.migrations, "0001", None, SHOUT)

        # The same DAG, opened and alive in one, with a lease on its shards.
        _, revision, run = driver.open("0001")
        driver.going_up(revision, run)
        driver.living.add(run.caller.dag_run_id)
        assert world.status("0001") == "upgrading"
        # Its own ledger lets nobody else in; the other's neither knows nor waits for it.
        with pytest.raises(Refused, match="holds the chain"):
            driver.open("0001")
        assert there.go("0001").status is RunStatus.APPLIED

        assert (world.status("0001"), other.status("0001")) == ("upgrading", "applied")
        assert driver.finish(revision, run).status is RunStatus.APPLIED
        assert there.go("0001", "downgrade").status is RunStatus.DOWNGRADED
        assert (world.status("0001"), other.status("0001")) == ("applied", "rolled_back")
