"""What a downgrade would do now: said before it starts, and refused where it would lose something for good."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from driver import Driver
from revisions import write
from world import World

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import Refused
from lockstep.domain.readiness import Readiness
from lockstep.domain.status import RunStatus
from lockstep.engine.counting import AFTER
from lockstep.engine.readiness import check_way_down, readiness

USERS = """CREATE TABLE users (id int PRIMARY KEY, name text);
    INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 300) n"""
COLUMN = """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN nick text", touches=[Users])
    yield ops.update_rows(Users, {"nick": "upper(name)"})

def downgrade():
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN nick", touches=[Users])
"""
PARKING = COLUMN.replace(
    'ops.sql(Db, "ALTER TABLE users DROP COLUMN nick", touches=[Users])', 'ops.drop_column(Users, "nick")'
)
RESTORING = """
def upgrade():
    yield ops.transform_rows(Users, shout)
    yield ops.transform_documents(Notes, loud)
    yield ops.drop_objects(Uploads)

def downgrade():
    yield ops.restore(Uploads)
    yield ops.restore(Notes)
    yield ops.restore(Users)

def shout(user):
    return {**user, "name": user["name"].upper()}

def loud(note):
    return {**note, "text": note["text"].upper()}
"""


def ready(driver: Driver) -> dict[str, Readiness]:
    services = driver.services(lambda place: None)
    return {one.revision: one for one in readiness(services, load_chain(driver.migrations))}


def refuse(driver: Driver, *revisions: str, **params: Any) -> list[Readiness]:
    services = driver.services(lambda place: None)
    return check_way_down(services, load_chain(driver.migrations), revisions, params)


def written(found: Readiness, what: str) -> int | None:
    [one] = [one for one in found.written if what in one.resource]
    return one.records


def test_dropping_a_column_is_not_lossy_while_nobody_wrote(world: World, driver: Driver) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, COLUMN)
    assert driver.go("0001").status is RunStatus.APPLIED

    found = ready(driver)["0001"]
    assert not found.lossy
    assert written(found, "users") == 0
    assert "nothing was written there since" in str(found.steps[0])
    assert [one.steps for one in refuse(driver, "0001")] == [found.steps]
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED


def test_dropping_a_column_that_was_written_to_is_refused_by_name(world: World, driver: Driver) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, COLUMN)
    driver.go("0001")
    world.run("UPDATE users SET nick = 'Bob' WHERE id <= 7")

    with pytest.raises(Refused) as refused:
        refuse(driver, "0001")
    told = str(refused.value)
    assert "revision '0001', downgrade 1" in told
    assert "DROP COLUMN nick of users" in told
    assert "7 record(s)" in told
    assert "lossy = true" in told
    assert "LOSES DROP COLUMN nick of users" in driver.log.text
    [accepted] = refuse(driver, "0001", lossy=True)
    assert accepted.lossy
    assert world.status("0001") == "applied"


def test_parking_a_column_that_was_written_to_loses_nothing(world: World, driver: Driver) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, PARKING)
    driver.go("0001")
    world.run("UPDATE users SET nick = 'Bob' WHERE id <= 7")

    [found] = refuse(driver, "0001")
    assert written(found, "users") == 7
    assert "parked with its data" in str(found.steps[0])


def test_what_later_revisions_wrote_does_not_count(world: World, driver: Driver) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, COLUMN)
    write(
        world.migrations,
        "0002",
        "0001",
        "def upgrade():\n    yield ops.transform_rows(Users, shout)\n\n"
        "def downgrade():\n    yield ops.restore(Users)\n\n"
        'def shout(user):\n    return {**user, "name": user["name"].upper()}\n',
    )
    driver.go("0001")
    driver.go("0002")
    assert written(ready(driver)["0001"], "users") == 0
    world.run("UPDATE users SET nick = 'Ann' WHERE id = 1")
    driver.go("0002", "downgrade")
    world.run("DELETE FROM users WHERE id = 2")

    found = ready(driver)
    assert list(found) == ["0001"]
    assert written(found["0001"], "users") == 2


def test_an_undone_upgrade_does_not_count_either(world: World, driver: Driver) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, COLUMN)
    write(
        world.migrations,
        "0002",
        "0001",
        "def upgrade():\n    yield ops.transform_rows(Users, fail)\n\n"
        "def downgrade():\n    yield ops.restore(Users)\n\n"
        'def fail(user):\n    if user["id"] > 250:\n        raise ValueError("no")\n'
        '    return {**user, "name": user["name"].upper()}\n',
    )
    driver.go("0001")
    assert driver.go("0002").status is RunStatus.ROLLED_BACK
    assert written(ready(driver)["0001"], "users") == 0


def test_counters_that_began_anew_are_said_to_be_unknown_and_refused(world: World, driver: Driver) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, COLUMN)
    driver.go("0001")
    world.run("SELECT pg_stat_reset()")

    found = ready(driver)["0001"]
    assert written(found, "users") is None
    assert found.losses[0].records is None
    with pytest.raises(Refused, match="nobody knows how many records"):
        refuse(driver, "0001")


def test_a_run_that_kept_no_counters_leaves_it_unknown(world: World, driver: Driver) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, COLUMN)
    driver.go("0001")
    world.run(f"UPDATE _migration_runs SET facts = facts - '{AFTER}'", world.ledger_uri)

    assert written(ready(driver)["0001"], "users") is None


def test_a_table_that_sql_drops_and_that_is_gone_already_loses_nothing(world: World, driver: Driver) -> None:
    write(
        world.migrations,
        "0001",
        None,
        'def upgrade():\n    yield ops.sql(Db, "CREATE TABLE users (id int PRIMARY KEY)", touches=[Users])\n\n'
        'def downgrade():\n    yield ops.sql(Db, "DROP TABLE IF EXISTS users", touches=[Users])\n',
    )
    driver.go("0001")
    world.run("INSERT INTO users VALUES (1)")
    assert ready(driver)["0001"].lossy
    world.run("DROP TABLE users")
    assert not ready(driver)["0001"].lossy


def everything_restored(world: World, driver: Driver) -> None:
    world.run(USERS)
    world.insert("notes", [{"_id": n, "text": f"note {n}"} for n in range(20)])
    for n in range(5):
        world.put(f"uploads/{n}.txt", b"text")
    write(world.migrations, "0001", None, RESTORING)
    assert driver.go("0001").status is RunStatus.APPLIED


def test_what_is_restored_is_not_lossy_whatever_was_written_since(world: World, driver: Driver) -> None:
    everything_restored(world, driver)
    world.run("UPDATE users SET name = 'Bob' WHERE id <= 3")
    world.insert("notes", [{"_id": 100, "text": "new"}, {"_id": 101, "text": "new"}])
    # What a bucket says of when an object was written may be exact to the second only.
    time.sleep(1.1)
    world.put("uploads/new.txt", b"new")

    [found] = refuse(driver, "0001")
    assert (written(found, "users"), written(found, "notes"), written(found, "uploads/")) == (3, 2, 1)
    assert "at least 2 record(s)" in driver.log.text
    assert "before-images are put back from the journal" in driver.log.text
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED


def test_a_journal_that_is_gone_from_the_vault_is_refused(world: World, driver: Driver) -> None:
    everything_restored(world, driver)
    services = driver.services(lambda place: None)
    run = services.ledger.runs("0001")[0]
    gone = services.vault.remove(list(services.vault.paths(f"journal/{run.id}/upgrade/002/")))
    assert gone

    with pytest.raises(Refused, match=r"collection notes .* journal are gone from the vault .*\(20 record"):
        refuse(driver, "0001")


def test_a_journal_of_rows_that_is_gone_is_refused(world: World, driver: Driver) -> None:
    everything_restored(world, driver)
    world.run("DELETE FROM lockstep_state.journal")

    with pytest.raises(Refused, match=r"table users .*its journal is gone \(300 record"):
        refuse(driver, "0001")


def test_parked_objects_that_are_gone_are_refused(world: World, driver: Driver) -> None:
    everything_restored(world, driver)
    listed = world.s3.list_objects_v2(Bucket=world.bucket, Prefix="_lockstep/parked/")["Contents"]
    for item in listed:
        world.s3.delete_object(Bucket=world.bucket, Key=item["Key"])

    with pytest.raises(Refused, match=r"prefix uploads/ .*what was parked is gone"):
        refuse(driver, "0001")


def test_a_parked_table_that_housekeeping_removed_is_refused_with_its_reason(
    world: World, driver: Driver
) -> None:
    world.run(USERS)
    write(
        world.migrations,
        "0001",
        None,
        "def upgrade():\n    yield ops.drop_table(Users)\n\ndef downgrade():\n    yield ops.restore(Users)\n",
    )
    driver.go("0001")
    assert not ready(driver)["0001"].lossy
    services = driver.services(lambda place: None)
    [database] = load_chain(driver.migrations)["0001"].databases
    store = services.tables(database)  # type: ignore[arg-type]
    services.ledger.sync_parked(database.conn_id, store.parked(), why="")
    for parked in store.parked():
        store.remove_parked(parked)
    services.ledger.sync_parked(database.conn_id, store.parked(), why="removed after 30 days")

    with pytest.raises(Refused, match=r"what was parked is gone since .*removed after 30 days"):
        refuse(driver, "0001")


def test_the_backup_is_shown_with_its_age_its_proof_and_what_is_wrong_with_it(
    world: World, driver: Driver
) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, PARKING)
    run = driver.go("0001")
    [kept] = ready(driver)["0001"].backups
    assert kept.proof is not None
    assert 0 <= kept.age_seconds < 600
    assert kept.problem is None
    services = driver.services(lambda place: None)
    [manifest] = services.ledger.backups(run.id)
    services.ledger.backup_checked(manifest, problem="users.dump: SHA-256 differs")

    [kept] = ready(driver)["0001"].backups
    assert "CANNOT BE READ: users.dump: SHA-256 differs" in str(kept)
    assert f"proven by {kept.proof}" in str(replace(kept, problem=None))


def test_only_applied_revisions_have_a_way_down(world: World, driver: Driver) -> None:
    world.run(USERS)
    write(world.migrations, "0001", None, COLUMN)
    driver.services(lambda place: None).ledger.check()
    assert refuse(driver, "0001") == []


def test_the_example_goes_down_to_the_base_and_only_what_people_wrote_is_in_its_way(
    world: World, driver: Driver
) -> None:
    example = replace(driver, migrations=Path(__file__).parents[2] / "migrations")
    chain = [revision.id for revision in load_chain(example.migrations).revisions]
    for revision in chain:
        if revision == "0006":
            world.run(
                "INSERT INTO users SELECT 'u' || n, 'u' || n || '@x.example', 'Ann Lee', now(), NULL "
                "FROM generate_series(1, 50) n"
            )
        assert example.go(revision).status is RunStatus.APPLIED
    assert [one.revision for one in refuse(example, *chain)] == chain[::-1]
    world.run("UPDATE users SET display_name = 'Annie' WHERE id = 'u1'")
    with pytest.raises(
        Refused, match=r"(?s)'0010', downgrade 4.*\(1 record.*'0006', downgrade 1.*\(1 record"
    ):
        refuse(example, *chain)

    for revision in reversed(chain):
        if revision not in ("0010", "0006"):
            refuse(example, revision)
        assert example.go(revision, "downgrade").status is RunStatus.DOWNGRADED
