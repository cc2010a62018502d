"""What a restore refuses, by name and with what to do instead; and what it leaves alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from driver import Bomb, Crash, Driver
from restored import THREE, USERS, died, fill
from restorer import Restorer, restorer
from revisions import write
from world import World

from lockstep.domain.errors import NotAtTarget, Refused
from lockstep.domain.status import RunStatus
from lockstep.engine.restoring import end_restore, plan_restore

__all__ = ["restorer"]

NOTES = """
def upgrade():
    yield ops.transform_documents(Notes, more)

def downgrade():
    yield ops.restore(Notes)

def more(document):
    return {**document, "n": document["n"] + 1}
"""
BOTH = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})
    yield ops.transform_documents(Notes, more)

def downgrade():
    yield ops.restore(Notes)
    yield ops.restore(Users)

def more(document):
    return {**document, "n": document["n"] + 1}
"""


def chain(world: World, driver: Driver, *bodies: str) -> list[str]:
    """Apply revisions 0001, 0002, … over the three stores, and return their runs."""
    fill(world)
    runs = []
    for number, body in enumerate(bodies, 1):
        down = f"{number - 1:04}" if number > 1 else None
        write(world.migrations, f"{number:04}", down, body)
        run = driver.go(f"{number:04}")
        assert run.status is RunStatus.APPLIED, driver.log.text
        runs.append(run.id)
    return runs


def counts(world: World) -> Any:
    return world.rows("SELECT count(*) FROM _migration_runs", world.ledger_uri)


# --- later revisions --------------------------------------------------------------------------------------


def test_later_revisions_that_are_covered_go_back_along(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    first, *_ = chain(world, driver, BOTH, NOTES, USERS)

    run = restorer.restored(first)

    assert [world.status(name) for name in ("0001", "0002", "0003")] == ["rolled_back"] * 3
    assert world.rows("SELECT sum(n) FROM users") == [(31375,)]
    walked = world.rows(
        "SELECT revision, to_status, reason FROM _migration_history "
        f"WHERE run_id = '{run.id}' AND kind = 'status' ORDER BY id",
        world.ledger_uri,
    )
    reason = f"restored from backup of run {first}"
    assert walked == [
        (name, status, reason)
        for name in ("0003", "0002", "0001")
        for status in ("rolling_back", "rolled_back")
    ]
    for name in ("0001", "0002", "0003"):
        assert driver.go(name).status is RunStatus.APPLIED, driver.log.text
    assert world.rows("SELECT sum(n) FROM users") == [(31375 + 500,)]


@pytest.mark.parametrize("later", [NOTES, BOTH])
def test_a_later_revision_that_touches_more_is_named_with_what_to_do(
    world: World, driver: Driver, restorer: Restorer, later: str
) -> None:
    first, second = chain(world, driver, USERS, later)
    before = world.hashes()

    with pytest.raises(Refused, match=r"revision 0002 stands on what is put back.*notes") as told:
        restorer.open(first)

    assert "Trigger rollback with target '0001' first" in str(told.value)
    assert f"backup = '{second}'" in str(told.value)
    assert "reconcile = false" in str(told.value)
    assert world.hashes() == before
    assert counts(world) == [(2,)]


def test_what_is_refused_works_once_the_later_backup_was_put_back(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    first, second = chain(world, driver, USERS, NOTES)

    restorer.restored(second)
    restorer.restored(first)

    assert [world.status(name) for name in ("0001", "0002")] == ["rolled_back"] * 2


def test_an_edited_file_cannot_become_applied_again(world: World, driver: Driver, restorer: Restorer) -> None:
    chain(world, driver, USERS)
    down = driver.go("0001", "downgrade")
    path = world.migrations / "0001_step.py"
    path.write_text(path.read_text() + "# edited\n")

    with pytest.raises(Refused, match=r"revision 0001 .* was edited since it was applied"):
        restorer.open(down.id)

    restorer.restored(down.id, reconcile=False)
    assert world.status("0001") == "rolled_back"


def test_a_revision_without_its_file_is_named(world: World, driver: Driver, restorer: Restorer) -> None:
    first, _ = chain(world, driver, USERS, USERS)
    (world.migrations / "0002_step.py").unlink()

    with pytest.raises(Refused, match=r"revision '0002' is applied, and its file is gone"):
        restorer.open(first)


# --- names and places -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"only": ["teams"]}, "holds no 'teams'. It holds: campus_auth:users"),
        ({"only": ["campus_documents:users"]}, "holds no 'campus_documents:users'"),
        ({"into": {"campus_api": "campus_auth"}}, "into names 'campus_api', of which nothing is put back"),
        (
            {"into": {"campus_auth": "campus_documents"}},
            "'campus_documents' is a Mongo, and the backup is of a",
        ),
    ],
)
def test_what_the_backup_does_not_hold_is_refused(
    world: World, driver: Driver, restorer: Restorer, asked: dict[str, Any], told: str
) -> None:
    first, _ = chain(world, driver, BOTH, NOTES)

    with pytest.raises(Refused, match=told):
        restorer.plan(first, **asked)


def test_an_unknown_backup_is_refused_with_the_latest_ones(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    (first,) = chain(world, driver, USERS)

    with pytest.raises(Refused, match=rf"no backup of a run 'nothing'.*The latest are: {first}"):
        restorer.plan("nothing")


def test_a_backup_whose_files_were_removed_is_refused(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    (first,) = chain(world, driver, USERS)
    ledger = driver.services(driver.bomb).ledger
    ledger.backup_removed(ledger.backups(first)[0])

    with pytest.raises(Refused, match="was removed from the vault when its time was over"):
        restorer.plan(first)


def test_a_backup_that_could_not_be_read_is_refused_and_can_be_left_out(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    (first,) = chain(world, driver, BOTH)
    ledger = driver.services(driver.bomb).ledger
    (documents,) = [one for one in ledger.backups(first) if one.conn_id == "campus_documents"]
    ledger.backup_checked(documents, problem="notes.bson is gone")

    with pytest.raises(Refused, match=r"campus_documents cannot be read: notes\.bson is gone"):
        restorer.open(first)

    restorer.restored(first, only=["campus_auth"])
    assert world.rows("SELECT sum(n) FROM users") == [(31375,)]


# --- what stops before anything is changed ----------------------------------------------------------------


def test_one_flipped_byte_stops_it_before_anything_is_overwritten(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    (first,) = chain(world, driver, "from dataclasses import replace\n" + THREE)
    before = world.hashes()
    listed = world.s3.list_objects_v2(Bucket=world.vault, Prefix=f"backups/{first}/")["Contents"]
    key = next(item["Key"] for item in listed if item["Key"].endswith(".bson"))
    body = bytearray(world.s3.get_object(Bucket=world.vault, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    world.s3.put_object(Bucket=world.vault, Key=key, Body=bytes(body))

    run = restorer.go(first)

    assert run.status is RunStatus.STOPPED
    assert key in str(run.error)
    assert world.hashes() == before
    assert world.status("0001") == "applied"
    with pytest.raises(NotAtTarget, match="Nothing was changed"):
        restorer.outcome(run)
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text


def test_a_view_that_hangs_on_a_table_that_must_be_made_anew_stops_it(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    (first,) = chain(world, driver, USERS)
    world.run("ALTER TABLE users ADD COLUMN later int")
    world.run("CREATE VIEW older AS SELECT id, later FROM users")
    before = world.hashes()

    run = restorer.go(first)

    assert run.status is RunStatus.STOPPED, driver.log.text
    assert "older" in str(run.error)
    assert world.hashes() == before
    world.run("DROP VIEW older")
    restorer.restored(first)


def test_a_chain_that_moved_since_the_plan_is_refused(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    from lockstep.engine.restoring import open_restore

    (first,) = chain(world, driver, USERS)
    services = driver.services(driver.bomb)
    plan = plan_restore(services, restorer.chain, backup=first)
    driver.go("0001", "downgrade")

    with pytest.raises(Refused, match="the chain has moved since"):
        open_restore(
            services, restorer.chain, plan, caller=restorer.caller(), params={}, alive=lambda caller: False
        )


# --- what is left half-way --------------------------------------------------------------------------------


def interrupted(world: World, driver: Driver, restorer: Restorer) -> tuple[str, str]:
    """Leave a restore half-way, its first database put back; return its backup and its own run."""
    (first,) = chain(world, driver, "from dataclasses import replace\n" + THREE)
    driver.bomb, driver.attempts = Bomb("database put back", 2), 1
    run = restorer.open(first)
    with pytest.raises(Crash):
        raise_at_the_bomb(restorer, run.id)
    driver.bomb, driver.attempts = (lambda place: None), 3
    return first, run.id


def raise_at_the_bomb(restorer: Restorer, run_id: str) -> None:
    died(restorer, run_id, "")


def test_an_interrupted_restore_blocks_every_other_run_until_it_is_through(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    backup, left = interrupted(world, driver, restorer)
    services = driver.services(driver.bomb)

    ended = end_restore(services, restorer.chain, services.ledger.run(left))

    assert ended.status is RunStatus.OPEN
    with pytest.raises(NotAtTarget, match="no other run starts until it is"):
        restorer.outcome(ended)
    with pytest.raises(Refused, match=f"restore {left} .*backup = '{backup}'"):
        driver.go("0001", "downgrade")
    with pytest.raises(Refused, match=f"restore {left} was interrupted.*campus_"):
        restorer.open(backup, only=["campus_auth"])
    assert restorer.plan(backup).carries_on == left
    assert restorer.restored(backup).id == left
    assert world.labels().count("failed") == 1


def test_what_an_interrupted_restore_had_overwritten_can_be_put_back(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    _, left = interrupted(world, driver, restorer)
    assert world.rows("SELECT sum(n) FROM users") == [(31375,)]

    restorer.restored(left)

    assert world.rows("SELECT sum(n) FROM users") == [(31375 + 250,)]
    assert world.status("0001") == "applied"
    assert driver.services(driver.bomb).ledger.run(left).status is RunStatus.FAILED
    assert driver.go("0001").status is RunStatus.NOTHING_TO_DO


# --- what is said -----------------------------------------------------------------------------------------


def test_history_event_and_archive_say_what_was_done_and_who_said_so(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    (first,) = chain(world, driver, USERS)
    world.run("INSERT INTO subscriptions VALUES ('audit', 'migration.restored', now())", world.yapper_uri)

    run = restorer.restored(first)

    kinds = world.rows(
        f"SELECT kind, detail FROM _migration_history WHERE run_id = '{run.id}' ORDER BY id", world.ledger_uri
    )
    begun, ended = ["opened", "restore_approved"], ["restored", "ended"]
    assert [kind for kind, _ in kinds] == [*begun, "status", "status", *ended]
    assert kinds[1][1]["approved_by"] == "grace"
    assert kinds[-2][1]["moved"] == {"0001": "rolled_back"}
    assert world.labels()[-3:] == ["started", "backed_up", "restored"]
    (told,) = world.rows("SELECT data FROM events WHERE label = 'migration.restored'", world.yapper_uri)[0]
    assert json.loads(told)["backup"] == first
    body = world.s3.get_object(Bucket=world.vault, Key=f"archive/{run.id}.json")["Body"].read()
    assert json.loads(body)["run"]["status"] == "restored"
    assert driver.services(driver.bomb).ledger.verify_history() is None
