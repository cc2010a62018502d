"""When a rehearsal waits or stops, what it refuses to open, and what it leaves."""

from __future__ import annotations

import pytest
from driver import Bomb, Crash, Driver
from rehearsed import ADD, SETUP, THREE, fill, rehearser
from revisions import write
from stage import Rehearser, backstage_of, rehearser_of
from world import World

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import Refused
from lockstep.domain.rehearsal import Verdict
from lockstep.domain.resources import Mongo, Postgres
from lockstep.engine.rehearsing.dropping import drop_rehearsal
from lockstep.engine.rehearsing.opening import plan_of
from lockstep.engine.rehearsing.stage import name_of, set_stage

__all__ = ["rehearser"]


def test_a_rehearsal_waits_until_a_run_is_settled(world: World, rehearser: Rehearser, driver: Driver) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    driver.bomb = Bomb("batch committed", 2)
    driver.attempts = 1
    driver.go("0001", on_failure="leave")

    assert world.status("0001") == "failed"
    with pytest.raises(Refused, match="'0001' is failed: the live data is half-way"):
        rehearser.open()


def test_a_rehearsal_waits_for_the_run_that_is_open(
    world: World, rehearser: Rehearser, driver: Driver
) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    _, _, run = driver.open("0001")

    with pytest.raises(Refused, match=f"run {run.id} .* is open"):
        rehearser.open()


def test_an_edit_while_it_goes_on_stops_it(world: World, rehearser: Rehearser) -> None:
    world.run(SETUP)
    path = write(world.migrations, "0001", None, ADD)
    plan = rehearser.open()
    path.write_text(path.read_text() + "\n# another word\n")

    with pytest.raises(Refused, match=r"'0001'.*edited while rehearsal"):
        plan_of(rehearser.services, load_chain(world.migrations), plan.rehearsal, plan.asked)


def test_a_try_that_was_killed_starts_over_and_leaves_nothing(world: World) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    rehearser = rehearser_of(world, Bomb("batch committed", 3))
    plan = rehearser.open()
    rehearser.back_up(plan)
    with pytest.raises(Crash):
        rehearser.attempt(plan, 1)
    assert rehearser.scratch_spaces() != []

    rehearser.attempt(plan, 2)
    ended = rehearser.end(plan)

    assert ended.verdict is Verdict.GREEN, rehearser.log.text
    assert rehearser.scratch_spaces() == []


def test_a_rehearsal_that_never_got_anywhere_is_stopped_and_says_why(
    world: World, rehearser: Rehearser
) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    plan = rehearser.open()

    ended = rehearser.end(plan)

    assert ended.verdict is Verdict.STOPPED
    assert ended.facts["why"] == "it was killed"
    assert rehearser.report["why"] == "it was killed"


def test_scratch_spaces_stay_where_that_is_asked_for(world: World, rehearser: Rehearser) -> None:
    fill(world)
    write(world.migrations, "0001", None, THREE)

    plan = rehearser.open(keep=True)
    rehearser.back_up(plan)
    rehearser.attempt(plan)
    rehearser.end(plan)

    kept = rehearser.scratch_spaces()
    assert len([name for name in kept if name.startswith("lockstep_scratch_")]) == 3
    drop_rehearsal(rehearser.services, rehearser.backstage, plan.rehearsal, plan.wanted, keep=False)
    assert rehearser.scratch_spaces() == []


def test_the_name_of_a_live_database_is_refused(world: World, rehearser: Rehearser) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    plan = rehearser.open()
    name = name_of(f"{plan.rehearsal.id}_1", "0_campus_auth", ())
    backstage = backstage_of(world, live={name})

    with pytest.raises(Refused, match="live database's"):
        set_stage(rehearser.services, backstage, plan.rehearsal, plan.wanted, attempt=1)
    assert rehearser.scratch_spaces() == []


def test_a_rehearsal_opens_no_database_that_it_has_no_copy_of(world: World, rehearser: Rehearser) -> None:
    fill(world)
    write(world.migrations, "0001", None, THREE)
    plan = rehearser.open()
    stage = set_stage(rehearser.services, rehearser.backstage, plan.rehearsal, plan.wanted, attempt=1)
    try:
        for database in (Postgres("campus_api"), Mongo("another")):
            with pytest.raises(Refused, match="does not open the live one"):
                stage.services.store(database)
        for one in plan.wanted:
            facts = " ".join(map(str, stage.services.store(one.database).check().values()))
            live = {world.mongo_db, world.auth_uri.rpartition("/")[2]}
            assert not live & set(facts.split())
        assert stage.services.sinks() == ()
        assert stage.services.announcers() == ()
    finally:
        stage.close()
        rehearser.end(plan)
