"""Housekeeping over real stores: what goes, what stays, and a crash in the middle of either."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest
from driver import Bomb, Crash, Driver
from revisions import write
from world import World, factory_of

from lockstep.domain.chain import load_chain
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.backup import take_backup
from lockstep.engine.housekeeping.leases import tidy_leases
from lockstep.engine.housekeeping.reading import Sample, read_backups
from lockstep.engine.housekeeping.removing import GOING, remove_backups
from lockstep.engine.housekeeping.retention import Retention
from lockstep.engine.housekeeping.strangers import find_strangers
from lockstep.engine.proving import prove_backups
from lockstep.engine.services import Services

STEP = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})
    yield ops.transform_documents(Notes, stamp)

def downgrade():
    yield ops.restore(Notes)
    yield ops.restore(Users)

def stamp(doc):
    return {**doc, "n": doc["n"] + 1}
"""
TABLE_ONLY = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})

def downgrade():
    yield ops.restore(Users)
"""
LAST = Retention(last=1, days=30)
WHOLE = Sample(percent=100, day=date(2026, 6, 1))


def later(days: float = 100) -> datetime:
    return datetime.now(timezone.utc) + timedelta(days=days)


def quiet(place: str) -> None:
    pass


def two_stores(world: World) -> None:
    world.run("CREATE TABLE users (id text PRIMARY KEY, n int); INSERT INTO users VALUES ('a', 1), ('b', 2)")
    world.insert("notes", [{"_id": n, "n": n} for n in range(5)])
    write(world.migrations, "0001", None, STEP)


def up_and_down(driver: Driver, times: int) -> list[Run]:
    """Upgrade, and so many times downgrade and upgrade again; return the runs in order."""
    runs = [driver.go("0001")]
    for _ in range(times):
        runs += [driver.go("0001", "downgrade"), driver.go("0001")]
    assert all(run.status in (RunStatus.APPLIED, RunStatus.DOWNGRADED) for run in runs), driver.log.text
    return runs


def kept_in_vault(world: World, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for page in world.s3.get_paginator("list_objects_v2").paginate(Bucket=world.vault, Prefix=prefix):
        found |= {item["Key"] for item in page.get("Contents", [])}
    return found


def runs_below(world: World, root: str) -> set[str]:
    return {key.split("/")[1] for key in kept_in_vault(world, f"{root}/")}


def listed(services: Services) -> set[str]:
    return {backup.manifest.run_id for backup in services.ledger.stored_backups()}


def notes_of(services: Services, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in services.ledger.history() if entry["kind"] == kind]


# --- retention ---------------------------------------------------------------------------------------------


def test_old_backups_go_with_their_journals_and_what_is_applied_can_still_be_taken_back(
    world: World, driver: Driver
) -> None:
    two_stores(world)
    before = world.hashes()
    *old, _, last = up_and_down(driver, 2)
    services = driver.services(quiet)
    assert {run.id for run in old} <= runs_below(world, "backups")

    found = remove_backups(services, LAST, by="olga", now=later())

    assert found.facts["removed"] == 2 * 4
    assert runs_below(world, "backups") == runs_below(world, "journal") == listed(services) == {last.id}
    removed = notes_of(services, "backup_removed")
    assert {(entry["run_id"], entry["who"]) for entry in removed} >= {(run.id, "olga") for run in old}
    assert services.ledger.verify_history() is None
    assert read_backups(services, WHOLE).problems == ()
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before
    assert driver.go("0001").status is RunStatus.APPLIED


def test_a_dry_run_says_what_would_go_and_changes_nothing(world: World, driver: Driver) -> None:
    two_stores(world)
    runs = up_and_down(driver, 1)
    services = driver.services(quiet)
    before = kept_in_vault(world), services.ledger.stored_backups(), len(services.ledger.history())
    found = remove_backups(services, LAST, by="olga", dry_run=True, now=later())
    assert (kept_in_vault(world), services.ledger.stored_backups(), len(services.ledger.history())) == before
    assert len(found.done) == 4
    assert all(line.startswith("would remove") for line in found.done)
    assert "stays: backup of campus_auth by run " + runs[-1].id in driver.log.text
    assert "revision 0001 is applied, and taking it back may need it" in driver.log.text


def test_young_backups_stay(world: World, driver: Driver) -> None:
    two_stores(world)
    runs = up_and_down(driver, 1)
    services = driver.services(quiet)
    assert remove_backups(services, LAST, by="olga", now=later(29)).done == ()
    assert listed(services) == {run.id for run in runs}


@pytest.mark.parametrize(
    ("place", "times"),
    [("backup files removed", 1), ("journal removed", 1), ("manifest removed", 2), ("removal noted", 1)],
)
def test_after_a_crash_in_a_removal_nothing_is_said_that_did_not_happen_and_the_next_one_ends_it(
    world: World, driver: Driver, place: str, times: int
) -> None:
    two_stores(world)
    runs = up_and_down(driver, 1)
    with pytest.raises(Crash):
        remove_backups(driver.services(Bomb(place, times)), LAST, by="olga", now=later())
    services = driver.services(quiet)

    said_gone = {
        backup.manifest.path
        for backup in services.ledger.stored_backups(removed=True)
        if backup.removed_at is not None
    } | {entry["detail"]["backup"].split("/", 3)[3] for entry in notes_of(services, "backup_removed")}
    assert not said_gone & kept_in_vault(world)
    assert read_backups(services, WHOLE).problems == ()  # one that is half gone is left aside
    remove_backups(services, LAST, by="olga", now=later())

    assert runs_below(world, "backups") == runs_below(world, "journal") == listed(services) == {runs[-1].id}
    assert {entry["run_id"] for entry in notes_of(services, "backup_removed")} == {
        run.id for run in runs[:-1]
    }
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text


def test_nothing_goes_while_a_run_is_open(world: World, driver: Driver) -> None:
    two_stores(world)
    up_and_down(driver, 1)
    driver.go("0001", "downgrade")
    _, _, run = driver.open("0001")
    services = driver.services(quiet)
    before = kept_in_vault(world)
    found = remove_backups(services, LAST, by="olga", now=later())
    assert found.facts["waits_for"] == run.id
    assert kept_in_vault(world) == before
    assert {backup.problem for backup in services.ledger.stored_backups()} == {None}


def test_files_that_a_backup_which_stays_uses_stay(world: World, driver: Driver) -> None:
    two_stores(world)
    write(world.migrations, "0001", None, TABLE_ONLY)
    driver.services = factory_of(world, driver.log, reuse_backups=True)
    first, _, third = up_and_down(driver, 1)
    services = driver.services(quiet)
    (manifest,) = services.ledger.backups(third.id)
    assert {file.path.split("/")[1] for file in manifest.files} == {first.id}

    remove_backups(services, Retention(last=1, days=0), by="olga", now=later())

    assert f"stays: backup of campus_auth by run {first.id}" in driver.log.text
    assert {file.path for file in manifest.files} <= kept_in_vault(world)
    assert read_backups(services, WHOLE).problems == ()


# --- what the ledger does not know ------------------------------------------------------------------------------


def test_folders_that_nobody_knows_are_reported_and_removed_only_when_asked(
    world: World, driver: Driver
) -> None:
    two_stores(world)
    run = driver.go("0001")
    old, timeless = "0009-up-20260101T000000-abcdef", "by-hand"
    strange = {
        f"backups/{old}/campus_auth/a.dump",
        f"backups/{run.id}/elsewhere/a.dump",
        f"journal/{timeless}/upgrade/1",
        "rehearsals/r260101000000abcd/report.json",
    }
    for key in strange:
        world.s3.put_object(Bucket=world.vault, Key=key, Body=b"x")
    services = driver.services(quiet)
    before = kept_in_vault(world)

    found = find_strangers(services, after_days=0, by="olga")
    assert found.facts["strangers"] == 4
    assert kept_in_vault(world) == before
    for key in strange:
        assert f"{key.rsplit('/', 1)[0].rsplit('/upgrade', 1)[0]}/: 1 object(s)" in driver.log.text

    assert len(find_strangers(services, after_days=30, by="olga", dry_run=True).done) == 2
    assert kept_in_vault(world) == before
    find_strangers(services, after_days=30, by="olga")
    assert before - kept_in_vault(world) == {
        f"backups/{old}/campus_auth/a.dump",
        "rehearsals/r260101000000abcd/report.json",
    }
    assert len(notes_of(services, "folder_removed")) == 2


def test_what_an_open_run_is_still_backing_up_is_not_strange(world: World, driver: Driver) -> None:
    two_stores(world)
    services, _, run = driver.open("0001")
    world.s3.put_object(Bucket=world.vault, Key=f"backups/{run.id}/campus_auth/a.dump", Body=b"x")
    assert find_strangers(services, after_days=1, by="olga", now=later()).facts["strangers"] == 0


# --- sampled reading ---------------------------------------------------------------------------------------


def flip(world: World, key: str) -> None:
    body = bytearray(world.s3.get_object(Bucket=world.vault, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    world.s3.put_object(Bucket=world.vault, Key=key, Body=bytes(body))


@pytest.mark.parametrize("ending", [".dump", ".bson", "manifest.json"])
def test_one_flipped_byte_is_found_and_named_and_the_backup_counts_no_more(
    world: World, driver: Driver, ending: str
) -> None:
    two_stores(world)
    run = driver.go("0001")
    services = driver.services(quiet)
    assert read_backups(services, WHOLE).problems == ()
    assert all(backup.checked_at for backup in services.ledger.stored_backups())
    key = next(key for key in kept_in_vault(world, f"backups/{run.id}/") if key.endswith(ending))
    flip(world, key)

    assert len(read_backups(services, WHOLE, dry_run=True).problems) == 1
    assert not any(backup.problem for backup in services.ledger.stored_backups())
    (problem,) = read_backups(services, WHOLE).problems
    assert key in problem
    assert "check_percent = 100" in problem
    (noted,) = [backup.problem for backup in services.ledger.stored_backups() if backup.problem]
    assert key in noted

    flip(world, key)
    assert read_backups(services, WHOLE).problems == ()
    assert not any(backup.problem for backup in services.ledger.stored_backups())


def test_a_missing_file_is_found_and_a_sample_without_it_does_not_clear_the_problem(
    world: World, driver: Driver
) -> None:
    two_stores(world)
    run = driver.go("0001")
    services = driver.services(quiet)
    key = next(key for key in kept_in_vault(world, f"backups/{run.id}/") if key.endswith(".dump"))
    world.s3.delete_object(Bucket=world.vault, Key=key)
    (problem,) = read_backups(services, WHOLE).problems
    assert f"{key} is gone" in problem
    found = read_backups(services, Sample(small=0, percent=0, day=WHOLE.day))
    assert found.problems == ()
    assert found.facts["objects"] == 2  # the manifests
    assert [key in (backup.problem or "") for backup in services.ledger.stored_backups()].count(True) == 1


def test_a_backup_that_is_being_removed_is_left_aside(world: World, driver: Driver) -> None:
    two_stores(world)
    driver.go("0001")
    services = driver.services(quiet)
    for backup in services.ledger.stored_backups():
        services.ledger.backup_checked(backup.manifest, problem=GOING)
    assert read_backups(services, WHOLE).facts["backups"] == 0


# --- leases ------------------------------------------------------------------------------------------------


def expire(world: World) -> None:
    world.run("UPDATE _migration_leases SET expires_at = now() - interval '1 hour'", world.ledger_uri)


def test_leases_of_ended_runs_go_and_an_abandoned_run_is_reported_as_it_is(
    world: World, driver: Driver
) -> None:
    two_stores(world)
    ended = driver.go("0001")
    services, revision, run = driver.open("0001", "downgrade")
    for database in revision.databases:
        take_backup(services, revision, run, database)
    prove_backups(services, revision, run)
    expire(world)

    living = tidy_leases(services, alive=lambda caller: True, dry_run=True)
    assert living.problems == ()
    assert living.done == (f"would remove the lease of run {ended.id}, which has ended",)
    found = tidy_leases(services, alive=lambda caller: False)

    assert found.facts == {"removed": 1, "abandoned": 1}
    assert f"run {run.id} is open and nobody works on it: its lease ran out 60 min ago" in found.problems[0]
    assert "trigger the DAG of revision '0001' with direction downgrade" in found.problems[0]
    assert services.ledger.lease_age(ended.id) is None
    assert services.ledger.run(run.id).status is RunStatus.OPEN
    assert world.status("0001") == "rolling_back"
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text


def test_a_failed_run_resumes_without_its_lease(world: World, driver: Driver) -> None:
    two_stores(world)
    body = TABLE_ONLY.replace(
        "\ndef downgrade", "    yield ops.run_python(gate, touches=Users)\n\ndef downgrade"
    )
    gate = """
def gate(hands):
    if hands.open(Users).execute("SELECT to_regclass('public.gate')").fetchone() == (None,):
        raise ValueError("closed")
"""
    write(
        world.migrations,
        "0001",
        None,
        body.replace("touches=Users)", "touches=Users, reverse=ops.NO_REVERSE)") + gate,
    )
    run = driver.go("0001", on_failure="leave")
    assert run.status is RunStatus.FAILED, driver.log.text
    expire(world)
    assert tidy_leases(driver.services(quiet), alive=lambda caller: False).facts["removed"] == 1
    world.run("CREATE TABLE gate ()")
    assert driver.go("0001", resume=True).status is RunStatus.APPLIED, driver.log.text


def test_a_project_without_runs_has_nothing_to_clear(world: World, driver: Driver) -> None:
    services = driver.services(quiet)
    services.ledger.check()
    assert load_chain(world.migrations).revisions == ()
    assert remove_backups(services, LAST, by="olga").done == ()
    assert find_strangers(services, after_days=1, by="olga").done == ()
    assert read_backups(services, WHOLE).problems == ()
    assert tidy_leases(services, alive=lambda caller: False).problems == ()
    assert json.dumps(read_backups(services, WHOLE).as_json())
