"""What a run may and may not do: order, edits, failures, take-overs, events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from driver import Bomb, Crash, Driver
from revisions import write
from world import World

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import BackupNotProven, NotAtTarget, Refused, Unavailable
from lockstep.domain.run import Caller
from lockstep.domain.status import RunStatus
from lockstep.engine.backup import take_backup
from lockstep.engine.opening import open_run
from lockstep.engine.proving import prove_backups
from lockstep.engine.recording import record
from lockstep.engine.routing import plan_route
from lockstep.engine.steps import run_step_shard
from lockstep.engine.undo import way_down

CALLER = Caller(dag_id="revision_0001", dag_run_id="run-x", by="olga")

SETUP = """CREATE TABLE users (id text PRIMARY KEY, n int);
INSERT INTO users SELECT i::text, i FROM generate_series(1, 250) i"""
ADD = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})

def downgrade():
    yield ops.restore(Users)
"""


def three(world: World) -> None:
    world.run(SETUP)
    for number, parent in (("0001", None), ("0002", "0001"), ("0003", "0002")):
        write(world.migrations, number, parent, ADD)


def test_revisions_go_up_and_down_in_order_only(world: World, driver: Driver) -> None:
    three(world)
    with pytest.raises(Refused, match="0001 is not applied"):
        driver.go("0002")
    assert driver.go("0001").status is RunStatus.APPLIED
    assert driver.go("0002").status is RunStatus.APPLIED
    with pytest.raises(Refused, match="0002 stand"):
        driver.go("0001", "downgrade")
    assert driver.go("0001").status is RunStatus.NOTHING_TO_DO
    assert driver.go("0003", "downgrade").status is RunStatus.NOTHING_TO_DO
    assert world.rows("SELECT sum(n) FROM users") == [(31375 + 500,)]


def test_a_route_leads_to_its_target_revision_by_revision(world: World, driver: Driver) -> None:
    three(world)
    chain = load_chain(world.migrations)
    services = driver.services(lambda place: None)

    def route(target: str, direction: str) -> list[str]:
        hops = plan_route(services, chain, target=target, direction=direction)  # type: ignore[arg-type]
        return [hop.revision_id for hop in hops]

    assert route("head", "upgrade") == ["0001", "0002", "0003"]
    assert route("0002", "upgrade") == ["0001", "0002"]
    assert route("previous", "downgrade") == []
    driver.go("0001")
    driver.go("0002")
    assert route("head", "upgrade") == ["0003"]
    assert route("previous", "downgrade") == ["0002"]
    assert route("base", "downgrade") == ["0002", "0001"]
    assert route("0001", "downgrade") == ["0002"]
    with pytest.raises(Refused, match="'0009'"):
        route("0009", "upgrade")


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda path: path.write_text(path.read_text() + "# harmless\n"), "was edited after it was applied"),
        (lambda path: path.unlink(), "its file is gone"),
        (lambda path: path.write_text('revision = "0001"\ndef'), "not Python"),
    ],
)
def test_an_applied_revision_that_was_edited_stops_the_next_run_by_name(
    world: World, driver: Driver, edit: object, told: str
) -> None:
    three(world)
    driver.go("0001")
    write(world.migrations, "0002", None if told != "was edited after it was applied" else "0001", ADD)
    edit(world.migrations / "0001_step.py")  # type: ignore[operator]
    with pytest.raises(Refused, match=f"'0001'.*{told}"):
        driver.go("0002")
    assert world.rows("SELECT count(*) FROM _migration_runs", world.ledger_uri) == [(1,)]


def test_a_revision_that_changes_during_its_run_stops_it(world: World, driver: Driver) -> None:
    three(world)
    _, revision, run = driver.open("0001")
    path = world.migrations / "0001_step.py"
    path.write_text(path.read_text() + "\n")
    edited = load_chain(world.migrations)["0001"]
    with pytest.raises(Refused, match="changed while run"):
        take_backup(driver.services(lambda place: None), edited, run, revision.databases[0])


def test_nothing_has_an_effect_before_the_backup_is_proven(world: World, driver: Driver) -> None:
    three(world)
    services, revision, run = driver.open("0001")
    with pytest.raises(BackupNotProven):
        run_step_shard(services, revision, run, "upgrade", 1, 0, holder="test")
    take_backup(services, revision, run, revision.databases[0])
    with pytest.raises(BackupNotProven):
        run_step_shard(services, revision, run, "upgrade", 1, 0, holder="test")
    assert world.rows("SELECT sum(n) FROM users") == [(31375,)]


def test_a_flipped_byte_in_the_backup_stops_the_run_and_names_the_object(
    world: World, driver: Driver
) -> None:
    three(world)
    services, revision, run = driver.open("0001")
    take_backup(services, revision, run, revision.databases[0])
    listed = world.s3.list_objects_v2(Bucket=world.vault, Prefix="backups/")["Contents"]
    key = next(item["Key"] for item in listed if item["Key"].endswith(".dump"))
    body = bytearray(world.s3.get_object(Bucket=world.vault, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    world.s3.put_object(Bucket=world.vault, Key=key, Body=bytes(body))
    with pytest.raises(BackupNotProven, match=key):
        prove_backups(services, revision, run)
    assert way_down(services, revision, run) == "none"
    assert record(services, revision, run).status is RunStatus.STOPPED
    assert world.status("0001") == "pending"


def test_a_second_run_is_refused_while_the_first_lives_and_continues_it_once_it_is_gone(
    world: World, driver: Driver
) -> None:
    three(world)
    driver.bomb = Bomb("batch committed", 2)
    driver.attempts = 1
    _, revision, run = driver.open("0001")
    driver.living = {run.caller.dag_run_id}
    services = driver.services(driver.bomb)
    for database in revision.databases:
        take_backup(services, revision, run, database)
    prove_backups(services, revision, run)
    with pytest.raises(Crash):
        run_step_shard(services, revision, run, "upgrade", 1, 0, holder="first")
    with pytest.raises(Refused, match=f"{run.id}.*holds the chain"):
        driver.open("0001")
    driver.living = set()
    with pytest.raises(Refused, match="left half-way"):
        driver.open("0002")
    again = driver.go("0001")
    assert again.id == run.id
    assert again.status is RunStatus.APPLIED, driver.log.text
    assert world.rows("SELECT sum(n) FROM users") == [(31375 + 250,)]
    with pytest.raises(Refused, match="taken over"):
        driver.again(run)


BROKEN = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])
    yield ops.run_python(boom, touches=Users, reverse={reverse})

def downgrade():
    yield ops.restore(Users)

def more(row):
    return {{**row, "n": row["n"] + 1}}

def boom(hands):
    raise ValueError("boom")

def unboom(hands):
    if hands.open(Users).execute("SELECT to_regclass('public.mended')").fetchone() == (None,):
        raise ValueError("not mended")
"""


def test_a_downgrade_that_fails_blocks_later_runs_and_can_be_resumed(world: World, driver: Driver) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, BROKEN.format(reverse="unboom"))
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.FAILED, driver.log.text
    assert world.status("0001") == "failed"
    assert world.labels() == ["started", "backed_up", "failed"]
    with pytest.raises(NotAtTarget, match="trigger the DAG restore with backup") as told:
        driver.outcome(run)
    assert "boom" in str(told.value)
    assert "manifest.json" in str(told.value)
    with pytest.raises(Refused, match="blocks every later run"):
        driver.go("0001")
    world.run("CREATE TABLE mended ()")
    resumed = driver.go("0001", resume=True)
    assert resumed.id == run.id
    world.run("DROP TABLE mended")
    assert resumed.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before


def test_an_operation_without_a_way_back_says_so_and_fails(world: World, driver: Driver) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, BROKEN.format(reverse="ops.NO_REVERSE"))
    run = driver.go("0001")
    assert run.status is RunStatus.FAILED
    assert "no way back, by its author's word" in driver.log.text


def test_left_as_it_is_by_request_it_can_be_resumed_forward(world: World, driver: Driver) -> None:
    world.run(SETUP + "; CREATE TABLE gate (open bool)")
    body = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})
    yield ops.run_python(wait, touches=Users, reverse=ops.NO_REVERSE)

def downgrade():
    yield ops.restore(Users)

def wait(hands):
    if hands.open(Users).execute("SELECT count(*) FROM gate").fetchone() == (0,):
        raise ValueError("closed")
"""
    write(world.migrations, "0001", None, body)
    run = driver.go("0001", on_failure="leave")
    assert run.status is RunStatus.FAILED
    assert world.rows("SELECT sum(n) FROM users") == [(31375 + 250,)]
    world.run("INSERT INTO gate VALUES (true)")
    again = driver.go("0001", resume=True)
    assert again.status is RunStatus.APPLIED, driver.log.text
    assert world.rows("SELECT sum(n) FROM users") == [(31375 + 250,)]


def test_every_finished_run_is_archived_with_its_source(world: World, driver: Driver) -> None:
    three(world)
    run = driver.go("0001")
    kept = json.loads(world.s3.get_object(Bucket=world.vault, Key=f"archive/{run.id}.json")["Body"].read())
    assert kept["run"]["status"] == "applied"
    assert kept["revision"]["source"] == (world.migrations / "0001_step.py").read_text()
    assert [entry["to_status"] for entry in kept["history"] if entry["kind"] == "status"] == [
        "upgrading",
        "applied",
    ]


def test_each_event_reaches_every_subscriber_once_with_its_label(world: World, driver: Driver) -> None:
    three(world)
    driver.go("0001")
    rows = world.rows(
        "SELECT u.client_id, u.label, e.data FROM unread u JOIN events e ON e.id = u.event_id ORDER BY 1, e.id",
        world.yapper_uri,
    )
    assert [(client, label) for client, label, _ in rows] == [
        (client, f"migration.{what}")
        for client in ("audit", "ops")
        for what in ("started", "backed_up", "applied")
    ]
    assert json.loads(rows[2][2])["revision"] == "0001"


def test_a_dag_run_that_ended_well_and_is_cleared_is_refused_once_its_revision_stands_elsewhere(
    world: World, driver: Driver
) -> None:
    world.run("CREATE TABLE users (id int PRIMARY KEY, n int NOT NULL)")
    body = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})

def downgrade():
    yield ops.restore(Users)
"""
    write(world.migrations, "0001", None, body)
    driver.go("0001")
    driver.dag_runs -= 1
    assert driver.open("0001")[2].status is RunStatus.APPLIED
    driver.go("0001", "downgrade")
    driver.dag_runs = 0

    with pytest.raises(
        Refused, match=r"this DAG run is over: .* ended as applied, and revision '0001' is rolled_back since"
    ):
        driver.open("0001")


def test_a_run_that_may_only_be_continued_is_not_begun(world: World, driver: Driver) -> None:
    write(world.migrations, "0001", None)
    chain = load_chain(world.migrations)
    given: dict[str, Any] = {"direction": "upgrade", "params": {}, "alive": lambda other: False}
    services = driver.services(driver.bomb)

    with pytest.raises(Unavailable, match="was held a moment ago and is free now"):
        open_run(services, chain, chain["0001"], caller=CALLER, may_begin=False, **given)

    assert services.ledger.runs("0001") == []
    begun = open_run(services, chain, chain["0001"], caller=CALLER, **given)
    again = open_run(services, chain, chain["0001"], caller=CALLER, may_begin=False, **given)
    assert begun.id == again.id
