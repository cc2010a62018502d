"""Housekeeping inside the databases: scratch spaces, parked things and drift, over real stores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pymongo
import pytest
from driver import Bomb, Crash, Driver
from revisions import write
from world import World

from lockstep.domain.rehearsal import Rehearsal, Verdict
from lockstep.domain.resources import Bucket, Database, Mongo, Postgres
from lockstep.domain.run import Caller
from lockstep.domain.scratch import scratch_name
from lockstep.domain.status import RunStatus
from lockstep.engine.housekeeping.drift import LATEST, find_drift
from lockstep.engine.housekeeping.parked import VANISHED, remove_parked
from lockstep.engine.housekeeping.rehearsed import remove_copies
from lockstep.engine.housekeeping.scratch import drop_orphans
from lockstep.engine.services import Services
from lockstep.stores.postgres.store import PostgresStore

AUTH, DOCS, FILES = Postgres("campus_auth"), Mongo("campus_documents"), Bucket("campus_objects")
ALL: list[Database] = [AUTH, DOCS, FILES]
DROPS = """
Old = Table(Db, "old")

def upgrade():
    yield ops.drop_column(Users, "n")
    yield ops.drop_table(Old)
    yield ops.drop_collection(Notes)
    yield ops.drop_objects(Uploads)

def downgrade():
    yield ops.restore(Uploads)
    yield ops.restore(Notes)
    yield ops.restore(Old)
    yield ops.restore(Users)
"""


def quiet(place: str) -> None:
    pass


def later(days: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(days=days)


def three_stores(world: World, body: str = DROPS) -> None:
    world.run(
        "CREATE TABLE users (id text PRIMARY KEY, n int); INSERT INTO users VALUES ('a', 1), ('b', 2);"
        "CREATE TABLE old (id int PRIMARY KEY); INSERT INTO old VALUES (1)"
    )
    world.insert("notes", [{"_id": n, "n": n} for n in range(5)])
    for number in range(3):
        world.put(f"uploads/{number}.txt", b"body")
    write(world.migrations, "0001", None, body)


def history(services: Services, kind: str) -> list[dict[str, Any]]:
    return [entry for entry in services.ledger.history() if entry["kind"] == kind]


# --- parked things -----------------------------------------------------------------------------------------


def test_the_list_of_parked_things_follows_the_runs(world: World, driver: Driver) -> None:
    three_stores(world)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, driver.log.text
    services = driver.services(quiet)
    there = {(one.kind, one.conn_id): one for one in services.ledger.parked()}
    assert set(there) == {
        ("column", "campus_auth"),
        ("table", "campus_auth"),
        ("collection", "campus_documents"),
        ("objects", "campus_objects"),
    }
    assert there["column", "campus_auth"].resource == "users.n"
    assert there["objects", "campus_objects"].records == 3
    assert there["table", "campus_auth"].revision == there["objects", "campus_objects"].revision == "0001"

    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text

    assert services.ledger.parked() == []
    assert {one.gone_why for one in services.ledger.parked(gone=True)} == {"taken back"}


def test_what_was_parked_long_ago_goes_and_the_history_says_so(world: World, driver: Driver) -> None:
    three_stores(world)
    driver.go("0001")
    services = driver.services(quiet)
    assert remove_parked(services, ALL, days=30, by="olga", now=later(29)).done == ()
    assert remove_parked(services, ALL, days=0, by="olga", now=later(9999)).done == ()
    dry = remove_parked(services, ALL, days=30, by="olga", dry_run=True, now=later(31))
    assert len(dry.done) == 4
    assert len(services.ledger.parked()) == 4

    found = remove_parked(services, ALL, days=30, by="olga", now=later(31))

    assert found.facts["removed"] == 4
    assert found.problems == ()
    assert services.ledger.parked() == []
    assert {one.gone_why for one in services.ledger.parked(gone=True)} == {"removed after 30 day(s)"}
    removed = history(services, "parked_removed")
    assert {entry["detail"]["kind"] for entry in removed} == {"column", "table", "collection", "objects"}
    assert {entry["who"] for entry in removed} == {"olga"}
    for database in ALL:
        assert services.store(database).parked() == []
    columns = world.rows(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0 "
        "AND NOT attisdropped"
    )
    assert columns == [("id",)]


def test_nothing_parked_goes_while_a_run_is_open_or_failed(world: World, driver: Driver) -> None:
    three_stores(world)
    driver.go("0001")
    services, _, run = driver.open("0001", "downgrade")
    found = remove_parked(services, ALL, days=30, by="olga", now=later(31))
    assert found.facts["waits_for"] == f"run {run.id} is open"
    assert found.facts["removed"] == 0
    assert len(services.ledger.parked()) == 4


def test_after_a_crash_in_a_removal_the_list_is_true_again_and_says_what_it_knows(
    world: World, driver: Driver
) -> None:
    three_stores(world)
    driver.go("0001")
    services = driver.services(quiet)
    with pytest.raises(Crash):
        remove_parked(driver.services(Bomb("parked removed", 2)), ALL, days=30, by="olga", now=later(31))
    assert len(services.ledger.parked()) == 3  # one is gone and not said to be
    remove_parked(services, ALL, days=30, by="olga", now=later(31))
    assert services.ledger.parked() == []
    assert len(history(services, "parked_removed")) == 3
    (gone,) = history(services, "parked_gone")
    assert gone["detail"]["why"] == VANISHED


# --- scratch spaces ----------------------------------------------------------------------------------------


@pytest.fixture
def scratch(world: World, driver: Driver) -> Iterator[Services]:
    """Drop what a test left on the servers, which outlive it."""
    services = driver.services(quiet)
    yield services
    for database in ALL:
        store = services.stores(database)
        for name in store.scratches():
            store.drop_scratch(name)


def names_of(services: Services) -> dict[str, list[str]]:
    return {database.conn_id: services.stores(database).scratches() for database in ALL}


def test_scratch_spaces_of_what_is_over_go_and_those_of_the_living_stay(
    world: World, driver: Driver, scratch: Services
) -> None:
    three_stores(world)
    ended = driver.go("0001")
    driver.go("0001", "downgrade")
    _, _, open_run = driver.open("0001")
    caller = Caller(dag_id="rehearse", dag_run_id="r1")
    goes_on = Rehearsal(id="r260101000000aaaa", target="head", caller=caller, started_at=later(0))
    died = replace(goes_on, id="r260101000000bbbb", caller=replace(caller, dag_run_id="r2"))
    kept = replace(goes_on, id="r260101000000cccc", params={"keep": True})
    for rehearsal in (goes_on, died, kept):
        scratch.ledger.add_rehearsal(rehearsal)
    scratch.ledger.change_rehearsal(kept.id, verdict=Verdict.GREEN)
    stranger = "0009-up-20260101T000000-abcdef"
    over = {scratch_name(mark, "x") for mark in (ended.id, died.id)}
    stays = {scratch_name(mark, "x") for mark in (open_run.id, goes_on.id, kept.id, f"back_{open_run.id}")}
    for database in ALL:
        for name in (*over, *stays, scratch_name(stranger, "x")):
            scratch.stores(database).open_scratch(name)

    def tidy(**more: Any) -> Any:
        return drop_orphans(
            scratch,
            [*ALL, Postgres("campus_api")],
            by="olga",
            alive=lambda caller: caller.dag_run_id == "r1",
            **{"after_days": 0, **more},
        )

    before = names_of(scratch)
    assert len(tidy(dry_run=True).done) == 6
    assert names_of(scratch) == before
    found = tidy()
    assert found.problems == ()
    assert found.facts["dropped"] == 6
    assert all(set(names) == {*stays, scratch_name(stranger, "x")} for names in names_of(scratch).values())
    assert "it may be another installation's" in driver.log.text
    assert len(history(scratch, "scratch_dropped")) == 1

    assert tidy(after_days=30).facts["dropped"] == 3
    assert tidy(after_days=30, now=later(8)).facts["dropped"] == 3
    assert all(set(names) == stays - {scratch_name(kept.id, "x")} for names in names_of(scratch).values())


def test_what_rehearsals_were_loaded_from_goes_and_their_reports_stay(world: World, driver: Driver) -> None:
    services = driver.services(quiet)
    services.ledger.check()
    caller = Caller(dag_id="rehearse", dag_run_id="r1")
    goes_on = Rehearsal(id="r260101000000aaaa", target="head", caller=caller, started_at=later(0))
    died = replace(goes_on, id="r260101000000bbbb", caller=replace(caller, dag_run_id="r2"))
    kept = replace(goes_on, id="r260101000000cccc", params={"keep": True})
    for rehearsal in (goes_on, died, kept):
        services.ledger.add_rehearsal(rehearsal)
        for name in ("report.json", "report.html", "backups/campus_auth/a.dump", "backups/report.json"):
            services.vault.put(f"{rehearsal.folder}/{name}", b"x")
    services.ledger.change_rehearsal(kept.id, verdict=Verdict.GREEN)

    def tidy(**more: Any) -> tuple[str, ...]:
        found = remove_copies(services, by="olga", alive=lambda caller: caller.dag_run_id == "r1", **more)
        return found.done

    assert tidy(dry_run=True) == (f"would remove 2 object(s) of rehearsal {died.id}",)
    assert tidy() == (f"removed 2 object(s) of rehearsal {died.id}",)
    assert tidy() == ()
    assert sorted(services.vault.paths(f"{died.folder}/")) == [
        f"{died.folder}/report.html",
        f"{died.folder}/report.json",
    ]
    assert len(list(services.vault.paths(f"{goes_on.folder}/"))) == 4
    assert tidy(now=later(8)) == (f"removed 2 object(s) of rehearsal {kept.id}",)
    assert len(history(services, "copies_removed")) == 2


def test_while_a_restore_is_open_no_runs_scratch_space_goes(
    world: World, driver: Driver, scratch: Services
) -> None:
    three_stores(world)
    ended = driver.go("0001")
    # It takes from a copy that is named after the run whose backup it puts back.
    name = scratch_name(f"back_{ended.id}", "campus_objects")
    scratch.objects(FILES).open_scratch(name)
    restore = replace(
        ended,
        id="restore-1",
        direction="restore",
        status=RunStatus.OPEN,
        caller=Caller(dag_id="d", dag_run_id="r"),
    )
    with scratch.ledger.unit() as unit:
        unit.add_run(restore)

    def tidy() -> Any:
        return drop_orphans(scratch, [FILES], by="olga", alive=lambda caller: False, after_days=1)

    assert tidy().done == ()
    assert "run restore-1 is open" in driver.log.text
    with scratch.ledger.unit() as unit:
        unit.change_run("restore-1", status=RunStatus.RESTORED)
    assert tidy().facts["dropped"] == 1
    assert scratch.objects(FILES).scratches() == []


# --- drift -------------------------------------------------------------------------------------------------

ADDS = """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN age int", touches=[Users])
    yield ops.update_documents(Notes, {"$inc": {"n": 1}})

def downgrade():
    yield ops.restore(Notes)
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN age", touches=[Users])
"""


def test_drift_is_what_changed_since_the_last_run_by_object(world: World, driver: Driver) -> None:
    three_stores(world, ADDS)
    services = driver.services(quiet)
    services.ledger.check()
    assert find_drift(services, [AUTH, DOCS]).facts == {"databases": 0, "differences": 0}
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, driver.log.text
    assert find_drift(services, [AUTH, DOCS]).facts == {"databases": 2, "differences": 0}

    world.run("ALTER TABLE users ADD COLUMN hand int; CREATE TABLE import_1 (x int); DROP TABLE old")
    with pymongo.MongoClient(world.mongo_uri) as client:
        client[world.mongo_db]["notes"].create_index("n", name="by_n")
    found = find_drift(services, [AUTH, DOCS])

    assert found.problems == ()
    assert "campus_auth: table users is changed" in found.done
    assert "campus_auth: table import_1 is extra" in found.done
    assert "campus_auth: table old is missing" in found.done
    assert any(line.startswith("campus_documents: ") for line in found.done)
    assert "hand integer" in driver.log.text
    told = json.loads(services.vault.get(LATEST))
    users = next(one for one in told["differences"] if one["object"] == "table users")
    assert "hand" in users["now"]
    assert "hand" not in users["expected"]
    assert told["compared"]["campus_auth"]["run"] == run.id

    ignored = find_drift(services, [AUTH, DOCS], ignore=["*import_1*"], fail=True)
    assert len(ignored.problems) == len(found.done) - sum("import_1" in line for line in found.done)
    assert all("Make it a revision, or put it back" in line for line in ignored.problems)


def test_a_run_that_goes_back_leaves_the_shape_that_it_goes_back_to(world: World, driver: Driver) -> None:
    three_stores(world, ADDS)
    driver.go("0001")
    driver.go("0001", "downgrade")
    services = driver.services(quiet)
    assert find_drift(services, [AUTH, DOCS]).facts == {"databases": 2, "differences": 0}
    assert "age" not in services.ledger.shapes()["campus_auth"][2]["table users"]


def test_a_dry_run_keeps_no_comparison(world: World, driver: Driver) -> None:
    three_stores(world, ADDS)
    driver.go("0001")
    services = driver.services(quiet)
    find_drift(services, [AUTH], dry_run=True)
    assert not services.vault.exists(LATEST)


def test_a_shape_that_cannot_be_taken_is_said_and_the_run_is_what_it_is(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(store: PostgresStore) -> dict[str, str]:
        raise RuntimeError("no rights on pg_proc")

    monkeypatch.setattr(PostgresStore, "portrait", refuses)
    three_stores(world, ADDS)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, driver.log.text
    assert "no rights on pg_proc" in driver.log.text
    assert set(driver.services(quiet).ledger.shapes()) == {"campus_documents"}
