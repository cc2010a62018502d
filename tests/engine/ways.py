"""The ways that every operation is sent: up, down and up again."""

from __future__ import annotations

from driver import Driver
from world import World

from lockstep.domain.status import RunStatus


def up_down_up(world: World, driver: Driver, revision: str = "0001") -> None:
    """Upgrade, downgrade and upgrade; what was there before and after must come back both times."""
    before = world.hashes()
    first = driver.go(revision)
    assert first.status is RunStatus.APPLIED, driver.log.text
    applied = world.hashes()
    assert applied != before
    down = driver.go(revision, "downgrade")
    assert down.status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before
    again = driver.go(revision)
    assert again.status is RunStatus.APPLIED, driver.log.text
    assert world.hashes() == applied
