"""What follows a failure: what the run was asked to do, or what a person chooses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from driver import Driver, PlainLog
from revisions import write
from three_stores import ONCE, PLAN, SMALL, UNTRUE, counters, fill, ready, scratches, walked
from world import World, factory_of

from chaos.grounds import ready as standing
from chaos.grounds import wait_until_expired
from chaos.herd import Herd, herd_in
from lockstep.domain.errors import Refused
from lockstep.domain.status import RunStatus
from lockstep.engine.choosing import choose
from lockstep.engine.putting_back import put_back
from lockstep.engine.recording import record
from lockstep.engine.undo import way_down

#: a fourth step, which fails until somebody mends it, and whose way back fails until somebody mends that
GATED = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])
    yield ops.transform_documents(Notes, more)
    yield ops.transform_objects(Uploads, more_of)
    yield ops.run_python(pass_the_gate, touches=Users, reverse=go_back)

def pass_the_gate(hands):
    if hands.open(Users).execute("SELECT to_regclass('gates.up')").fetchone() == (None,):
        raise ValueError("the gate up is shut")

def go_back(hands):
    if hands.open(Users).execute("SELECT to_regclass('gates.down')").fetchone() == (None,):
        raise ValueError("the gate down is shut")
"""


@pytest.fixture
def driver(world: World) -> Driver:
    log = PlainLog()
    services = factory_of(world, log, lease_seconds=2.0, **SMALL)
    return Driver(services=services, migrations=world.migrations, log=log, shards=1)


@pytest.fixture
def gated(world: World) -> dict[str, str]:
    """Fill the stores, write a revision that fails at its last step; return the hashes."""
    fill(world)
    plan = PLAN[: PLAN.index("def upgrade")] + GATED + PLAN[PLAN.index("def downgrade") :]
    write(world.migrations, "0001", None, plan)
    # Beside what is hashed: a schema of its own, dropped before the hashes are compared.
    return world.hashes()


def open_gate(world: World, way: str) -> None:
    world.run(f"CREATE SCHEMA IF NOT EXISTS gates; CREATE TABLE IF NOT EXISTS gates.{way} ()")


def shut_gates(world: World) -> None:
    world.run("DROP SCHEMA IF EXISTS gates CASCADE")


def notes(world: World, run_id: str, kind: str) -> list[dict[str, Any]]:
    found = world.rows(
        f"SELECT who, detail FROM _migration_history WHERE run_id = '{run_id}' AND kind = '{kind}' ORDER BY id",
        world.ledger_uri,
    )
    return [
        {"who": who, **(json.loads(detail) if isinstance(detail, str) else detail)} for who, detail in found
    ]


def test_the_person_who_is_asked_learns_what_failed_how_far_it_got_and_what_each_choice_does(
    world: World, driver: Driver, gated: dict[str, str]
) -> None:
    open_gate(world, "down")
    driver.answers = ["downgrade"]
    run = driver.go("0001", on_failure="ask")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    (question,) = driver.asked
    assert question.choices == ("retry", "downgrade", "restore", "leave")
    assert "0001" in question.subject
    assert "the gate up is shut" in question.body
    assert "3 batch(es) committed, 50 record(s) written" in question.body
    for choice in question.choices:
        assert f"| `{choice}` |" in question.body
    shut_gates(world)
    assert world.hashes() == gated
    assert walked(world, run.id) == ["upgrading", "rolling_back", "rolled_back"]


def test_who_chose_what_and_when_is_in_the_history(
    world: World, driver: Driver, gated: dict[str, str]
) -> None:
    driver.answers = ["restore"]
    run = driver.go("0001", on_failure="ask")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == gated
    (asked,) = notes(world, run.id, "asked")
    assert asked["choices"] == ["retry", "downgrade", "restore", "leave"]
    (chosen,) = notes(world, run.id, "chosen")
    assert (chosen["who"], chosen["choice"], chosen["after"]) == ("paul", "restore", "upgrade")
    assert "the gate up is shut" in chosen["because"]
    assert chosen["at"] == driver.clock.isoformat()
    (back,) = notes(world, run.id, "put_back")
    assert back["campus_objects"]["written"] == 13


def test_a_retry_goes_on_where_it_stopped_and_asks_again_where_it_fails_again(
    world: World, driver: Driver, gated: dict[str, str]
) -> None:
    driver.answers = ["retry", "retry"]

    def mended_the_second_time() -> None:
        if len(driver.asked) == 2:
            open_gate(world, "up")

    driver.waiting = mended_the_second_time
    run = driver.go("0001", on_failure="ask")
    assert run.status is RunStatus.APPLIED, driver.log.text
    assert run.error is None
    assert len(driver.asked) == 2
    assert counters(world) == ONCE
    assert [one["choice"] for one in notes(world, run.id, "chosen")] == ["retry", "retry"]


def test_what_is_left_by_choice_can_be_resumed_and_is_asked_about_again(
    world: World, driver: Driver, gated: dict[str, str]
) -> None:
    driver.answers = ["leave"]
    run = driver.go("0001", on_failure="ask")
    assert run.status is RunStatus.FAILED, driver.log.text
    assert counters(world) == ONCE
    assert walked(world, run.id) == ["upgrading", "failed"]
    with pytest.raises(Refused, match="blocks every later run"):
        driver.open("0001")
    driver.answers = ["restore"]
    again = driver.go("0001", resume=True)
    assert (again.id, again.status) == (run.id, RunStatus.ROLLED_BACK), driver.log.text
    assert len(driver.asked) == 2
    assert world.hashes() == gated


def test_a_run_that_waits_for_an_answer_is_not_taken_over_however_long_it_takes(
    world: World, driver: Driver, gated: dict[str, str]
) -> None:
    driver.answers = ["restore"]

    def nobody_else_may() -> None:
        (run,) = [run for run in driver.services(driver.bomb).ledger.runs() if run.ended_at is None]
        driver.living = {run.caller.dag_run_id}
        wait_until_expired(driver, run, 0.5)
        with pytest.raises(Refused, match="holds the chain"):
            driver.open("0001")
        shards = driver.services(driver.bomb).ledger.shards(run.id, "upgrade")
        assert "a person to choose" in (shards[-1].held or "")

    driver.waiting = nobody_else_may
    run = driver.go("0001", on_failure="ask")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == gated


def test_an_answer_that_comes_twice_counts_once(world: World, driver: Driver, gated: dict[str, str]) -> None:
    driver.answers = ["leave"]
    run = driver.go("0001", on_failure="ask")
    services, revision, run = driver.open("0001", resume=True)
    given = {"by": "paul", "at": driver.clock}
    assert not choose(services, revision, run, "upgrade", "leave", **given)  # type: ignore[arg-type]
    assert len(notes(world, run.id, "chosen")) == 1


def test_an_undo_that_fails_is_followed_by_the_backups_where_that_is_the_policy(
    world: World, driver: Driver, gated: dict[str, str]
) -> None:
    run = driver.go("0001", on_undo_failure="restore")
    assert "the gate down is shut" in driver.log.text
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == gated
    assert walked(world, run.id) == ["upgrading", "rolling_back", "rolled_back"]
    assert scratches(driver) == []
    open_gate(world, "up")
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    assert counters(world) == ONCE


@pytest.mark.parametrize("choice", ["retry", "restore", "leave"])
def test_an_undo_that_fails_asks_where_that_is_the_policy(
    world: World, driver: Driver, gated: dict[str, str], choice: str
) -> None:
    driver.answers = [choice, "leave"]
    driver.waiting = lambda: open_gate(world, "down")
    run = driver.go("0001", on_undo_failure="ask")
    assert len(driver.asked) == 1, driver.log.text
    (question,) = driver.asked
    assert question.choices == ("retry", "restore", "leave")
    assert "undo, " in question.body
    shut_gates(world)
    if choice == "leave":
        assert run.status is RunStatus.FAILED
        assert walked(world, run.id) == ["upgrading", "rolling_back", "failed"]
        open_gate(world, "down")
        run = driver.go("0001", resume=True)
        shut_gates(world)
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == gated


def flip(world: World, key: str) -> bytes:
    """Change one byte of an object of the vault; return what it was."""
    body = world.s3.get_object(Bucket=world.vault, Key=key)["Body"].read()
    world.s3.put_object(Bucket=world.vault, Key=key, Body=body[:-20] + bytes([body[-20] ^ 1]) + body[-19:])
    return bytes(body)


def documents_of(world: World) -> str:
    listed = world.s3.list_objects_v2(Bucket=world.vault, Prefix="backups/")["Contents"]
    return next(str(item["Key"]) for item in listed if item["Key"].endswith(".bson"))


def test_a_backup_that_is_not_what_it_was_is_not_put_back_and_the_run_can_be_resumed_once_it_is(
    world: World, driver: Driver, gated: dict[str, str]
) -> None:
    driver.answers = ["restore"]
    kept: dict[str, bytes] = {}
    driver.waiting = lambda: kept.update(was=flip(world, documents_of(world)))
    run = driver.go("0001", on_failure="ask")
    assert run.status is RunStatus.FAILED, driver.log.text
    assert "notes" in driver.log.text
    assert [note["n"] for note in world.documents("notes")] == list(range(2, 52))
    assert scratches(driver) == []
    world.s3.put_object(Bucket=world.vault, Key=documents_of(world), Body=kept["was"])
    again = driver.go("0001", resume=True)
    assert (again.id, again.status) == (run.id, RunStatus.ROLLED_BACK), driver.log.text
    assert len(driver.asked) == 1
    assert world.hashes() == gated


def test_a_restore_that_fails_asks_whether_to_try_it_again(
    world: World, driver: Driver, gated: dict[str, str]
) -> None:
    driver.answers = ["restore", "retry"]
    kept: dict[str, bytes] = {}

    def waiting() -> None:
        if not kept:
            kept["was"] = flip(world, documents_of(world))
        else:
            world.s3.put_object(Bucket=world.vault, Key=documents_of(world), Body=kept["was"])

    driver.waiting = waiting
    run = driver.go("0001", on_failure="ask", on_undo_failure="ask")
    assert [question.choices for question in driver.asked] == [
        ("retry", "downgrade", "restore", "leave"),
        ("retry", "leave"),
    ]
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == gated


def test_a_downgrade_that_fails_asks_and_is_never_restored_by_itself(world: World, driver: Driver) -> None:
    ready(world)
    assert driver.go("0001").status is RunStatus.APPLIED
    world.run("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not yet'; END $$")
    world.run("CREATE TRIGGER no BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION no()")
    run = driver.go("0001", "downgrade", on_undo_failure="restore")
    assert run.status is RunStatus.FAILED, driver.log.text
    assert not run.facts.get("putting_back")
    assert driver.asked == []
    world.run("DROP TRIGGER no ON users")
    assert driver.go("0001", "downgrade", resume=True).status is RunStatus.DOWNGRADED, driver.log.text


def test_a_downgrade_that_fails_is_retried_by_choice(world: World, driver: Driver) -> None:
    ready(world)
    assert driver.go("0001").status is RunStatus.APPLIED
    world.run("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not yet'; END $$")
    world.run("CREATE TRIGGER no BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION no()")
    driver.answers = ["retry"]
    driver.waiting = lambda: world.run("DROP TRIGGER no ON users")
    run = driver.go("0001", "downgrade", on_undo_failure="ask")
    assert driver.asked[0].choices == ("retry", "leave")
    assert run.status is RunStatus.DOWNGRADED, driver.log.text


def test_restoring_does_not_write_what_is_as_it_was(world: World, driver: Driver) -> None:
    ready(world, UNTRUE)
    world.run("CREATE TABLE others (id int PRIMARY KEY); INSERT INTO others VALUES (1)")
    run = driver.go("0001", on_failure="restore")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert run.facts["put_back"]["campus_auth"] == {"written": 50, "removed": 0}
    assert world.rows("SELECT * FROM others") == [(1,)]


@pytest.fixture
def herd(world: World, tmp_path: Path) -> Iterator[Herd]:
    with herd_in(world, tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("body", "at", "times"),
    [
        ("rows by SQL", "batch written", 2),
        ("documents by a function", "batch journaled", 2),
        ("objects by a function", "object begun", 14),
    ],
)
def test_a_worker_that_sleeps_while_the_backups_are_put_back_writes_nothing_when_it_wakes_up(
    world: World, driver: Driver, herd: Herd, body: str, at: str, times: int
) -> None:
    ground, revision, run = standing(world, driver, body, 60)
    before = ground.hash()
    settings = {"batch_rows": 20, "batch_documents": 20, "batch_objects": 10, "lease_seconds": 2.0}
    sleeper = herd.start(run, "upgrade", freeze=(at, times), **settings)
    sleeper.wait_until_frozen()
    services = driver.services(driver.bomb)
    with services.ledger.unit() as unit:
        unit.change_run(run.id, facts={"undoing": True, "putting_back": True})
    assert way_down(services, revision, run) == "restore"
    put_back(services, revision, run)
    assert ground.hash() == before
    assert record(services, revision, run).status is RunStatus.ROLLED_BACK
    sleeper.wake()
    ended = sleeper.end()
    assert ended["how"] in ("StaleEpoch", "Unavailable"), ended
    assert ground.hash() == before
