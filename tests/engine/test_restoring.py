"""A backup put back: all stores at once, a part, elsewhere; after a failure, a crash, a change of shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import boto3
import pymongo
import pytest
from driver import Bomb, Crash, Driver
from restorer import Restorer, restorer
from revisions import write
from world import World

from lockstep.domain.errors import Refused
from lockstep.domain.resources import Bucket, Database, Mongo
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.backup import take_backup
from lockstep.engine.proving import prove_backups
from lockstep.engine.restoring import restorable
from lockstep.engine.services import Services, Store
from lockstep.engine.steps import plan_step, run_step_shard
from lockstep.stores.mongo.store import MongoStore
from lockstep.stores.s3.store import S3Store

__all__ = ["restorer"]

THREE = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})
    yield ops.transform_documents(Notes, more)
    yield ops.transform_objects(Uploads, louder)

def downgrade():
    yield ops.restore(Uploads)
    yield ops.restore(Notes)
    yield ops.restore(Users)

def more(document):
    return {**document, "n": document["n"] + 1}

def louder(item):
    return replace(item, body=item.body.upper(), metadata={**item.metadata, "loud": "1"})
"""
UNDOABLE = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})
    yield ops.run_python(boom, touches=Users, reverse=boom)

def downgrade():
    yield ops.restore(Users)

def boom(hands):
    raise ValueError("boom")
"""
USERS = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})

def downgrade():
    yield ops.restore(Users)
"""


def fill(world: World) -> None:
    """Put something into each store that is more than rows: keys, an index, metadata, tags."""
    world.run("CREATE TABLE teams (id int PRIMARY KEY)")
    world.run("INSERT INTO teams SELECT generate_series(1, 5)")
    world.run(
        "CREATE TABLE users (id text PRIMARY KEY, n int NOT NULL, name text DEFAULT 'x' UNIQUE, "
        "team int REFERENCES teams (id))"
    )
    world.run("INSERT INTO users SELECT i::text, i, 'name ' || i, i % 5 + 1 FROM generate_series(1, 250) i")
    world.insert("notes", [{"_id": f"n{i:03}", "n": i, "deep": {"b": 1, "a": [i]}} for i in range(230)])
    with pymongo.MongoClient(world.mongo_uri) as client:
        client[world.mongo_db]["notes"].create_index([("n", 1)], name="by_n")
    for i in range(10):
        world.put(
            f"uploads/{i:02}.txt",
            b"text %d" % i,
            ContentType="text/plain",
            Metadata={"owner": f"u{i}"},
            Tagging="kind=essay",
        )
    world.put("other/stays.txt", b"x")


def three(world: World, driver: Driver) -> str:
    """Apply a revision over all three stores, and return its run."""
    fill(world)
    write(world.migrations, "0001", None, "from dataclasses import replace\n" + THREE)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, driver.log.text
    return run.id


def spoil(world: World) -> None:
    """Change everything that the revision touches: records gone, new and other, and shapes."""
    world.run("DELETE FROM users WHERE n > 200")
    world.run("INSERT INTO users (id, n, name) VALUES ('new', 0, 'new')")
    world.run("UPDATE users SET name = 'other' WHERE id = '7'")
    with pymongo.MongoClient(world.mongo_uri) as client:
        notes = client[world.mongo_db]["notes"]
        notes.delete_many({"n": {"$gt": 100}})
        notes.insert_one({"_id": "new", "n": 0})
        notes.drop_index("by_n")
        notes.create_index([("deep.b", -1)], name="by_b")
    world.s3.delete_object(Bucket=world.bucket, Key="uploads/03.txt")
    world.put("uploads/new.txt", b"new")
    world.put("uploads/04.txt", b"text 4", ContentType="text/plain")


# --- where it came from -----------------------------------------------------------------------------------


def test_a_backup_of_all_stores_goes_back_and_the_next_run_needs_no_help(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, "from dataclasses import replace\n" + THREE)
    applied = driver.go("0001")
    assert applied.status is RunStatus.APPLIED, driver.log.text
    after = world.hashes()
    assert all(after[store] != before[store] for store in ("auth", "mongo", "s3"))
    spoil(world)

    run = restorer.restored(applied.id)

    assert world.hashes() == before
    assert world.status("0001") == "rolled_back"
    assert (run.direction, run.revision) == ("restore", "0001")
    again = driver.go("0001")
    assert again.status is RunStatus.APPLIED, driver.log.text
    assert world.hashes() == after


def test_what_a_restore_overwrites_is_backed_up_and_can_be_put_back_itself(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    applied = three(world, driver)
    spoil(world)
    spoiled = world.hashes()

    first = restorer.restored(applied)

    assert world.hashes() != spoiled
    again = restorer.restored(first.id)
    assert world.hashes() == spoiled
    assert world.status("0001") == "applied"
    assert driver.go("0001").status is RunStatus.NOTHING_TO_DO
    assert again.facts["backup"] == first.id


def test_a_plan_changes_nothing_and_says_everything(world: World, driver: Driver, restorer: Restorer) -> None:
    applied = three(world, driver)
    spoil(world)
    spoiled = world.hashes()

    plan = restorer.plan(applied)

    assert world.hashes() == spoiled
    text = "\n".join(plan.words)
    assert f"Put back the backup of run {applied}, taken before the upgrade of 0001" in text
    assert "campus_auth: users (" in text
    assert "users (200 records)" in text
    assert "notes (101 records)" in text
    assert "uploads/ (10 records)" in text
    assert "revision 0001: applied → rolled_back" in text
    assert (plan.records, plan.empty) == (311, False)
    assert plan.mark == restorer.plan(applied).mark
    assert plan.mark != restorer.plan(applied, reconcile=False).mark
    assert plan.mark != restorer.plan(applied, only=["users"]).mark


def test_one_resource_goes_back_and_the_rest_stays(world: World, driver: Driver, restorer: Restorer) -> None:
    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, "from dataclasses import replace\n" + THREE)
    applied = driver.go("0001")
    after = world.hashes()

    run = restorer.restored(applied.id, only=["campus_documents:notes"])

    assert world.hashes() == {**after, "mongo": before["mongo"]}
    assert world.status("0001") == "applied"
    assert "notes (campus_documents) is then as it was before it" in "\n".join(run.facts["plan"])
    notes = world.rows("SELECT kind FROM _migration_history WHERE revision = '0001'", world.ledger_uri)
    assert ("restored",) in notes


def test_without_reconcile_the_ledger_stays_as_it_is(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    applied = three(world, driver)

    run = restorer.restored(applied, reconcile=False)

    assert world.status("0001") == "applied"
    assert "the ledger says that revision 0001 is applied, where its data is rolled_back" in "\n".join(
        run.facts["plan"]
    )


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users ADD COLUMN later int DEFAULT 3",
        "ALTER TABLE users DROP COLUMN name",
        "ALTER TABLE users ALTER COLUMN n TYPE bigint",
        "DROP TABLE users",
        "ALTER TABLE users RENAME TO people",
        "DROP INDEX later_index; CREATE INDEX later_index ON users (n, name)",
    ],
)
def test_a_table_whose_shape_has_changed_since_gets_it_back(
    world: World, driver: Driver, restorer: Restorer, change: str
) -> None:
    fill(world)
    world.run("CREATE INDEX later_index ON users (n)")
    write(world.migrations, "0001", None, USERS)
    rows = "SELECT id, n, name, team FROM users ORDER BY id"
    before, shape = world.rows(rows), shape_of_users(world)
    applied = driver.go("0001")
    for statement in change.split("; "):
        world.run(statement)
    world.run("DROP TABLE IF EXISTS people")

    restorer.restored(applied.id)

    assert world.rows(rows) == before
    assert shape_of_users(world) == shape
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text


def shape_of_users(world: World) -> list[Any]:
    return [
        world.rows(
            "SELECT attname, atttypid::regtype::text, attnotnull FROM pg_attribute "
            "WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attname"
        ),
        world.rows("SELECT indexdef FROM pg_indexes WHERE tablename = 'users' ORDER BY indexname"),
        world.rows(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'users'::regclass "
            "ORDER BY conname"
        ),
    ]


DROPS = """
def upgrade():
    yield ops.drop_column(Users, "name")
    yield ops.drop_collection(Notes)
    yield ops.drop_objects(Uploads)

def downgrade():
    yield ops.restore(Uploads)
    yield ops.restore(Notes)
    yield ops.restore(Users)
"""


def test_what_a_revision_dropped_is_back_and_can_be_dropped_and_taken_back_again(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, DROPS)
    applied = driver.go("0001")
    assert applied.status is RunStatus.APPLIED, driver.log.text
    assert world.documents("notes") == []

    restorer.restored(applied.id)

    assert world.hashes() == before
    again = driver.go("0001")
    assert again.status is RunStatus.APPLIED, driver.log.text
    assert world.documents("notes") == []
    down = driver.go("0001", "downgrade")
    assert down.status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before


def test_a_table_that_was_made_since_goes_where_the_backup_was_of_everything(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    fill(world)
    before = world.hashes()
    body = """
def upgrade():
    yield ops.sql(Db, "CREATE TABLE made (id int PRIMARY KEY)")

def downgrade():
    yield ops.sql(Db, "DROP TABLE made")
"""
    write(world.migrations, "0001", None, body)
    applied = driver.go("0001")
    assert world.hashes() != before

    restorer.restored(applied.id)

    assert world.hashes() == before
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text


# --- into another database --------------------------------------------------------------------------------


def with_copies(world: World, driver: Driver) -> tuple[str, str]:
    """Let connections documents_copy and objects_copy lead to a database and a bucket of their own."""
    base, db, bucket = driver.services, f"{world.mongo_db}_copy", f"{world.bucket}-copy"
    world.s3.create_bucket(Bucket=bucket)

    def services(reached: Any) -> Services:
        made = base(reached)

        def stores(database: Database) -> Store:
            if database.conn_id == "documents_copy":
                assert isinstance(database, Mongo)
                return MongoStore(database, world.mongo_uri, db)
            if database.conn_id == "objects_copy":
                assert isinstance(database, Bucket)
                return S3Store(database, world.s3_kwargs, bucket)
            return made.stores(database)

        return replace(made, stores=stores)

    driver.services = services
    return db, bucket


COPIES = {
    "campus_auth": "campus_api",
    "campus_documents": "documents_copy",
    "campus_objects": "objects_copy",
}


def test_a_backup_goes_into_other_databases_and_nothing_else_changes(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    import independent

    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, "from dataclasses import replace\n" + THREE)
    applied = driver.go("0001")
    after = world.hashes()
    db, bucket = with_copies(world, driver)
    assert restorer.plan(applied.id, into=COPIES).empty

    run = restorer.restored(applied.id, into=COPIES)

    assert world.hashes() == {**after, "api": independent.hash_postgres(world.api_uri)}
    assert world.rows("SELECT count(*), sum(n) FROM users", world.api_uri) == [(250, 31375)]
    assert independent.hash_postgres(world.api_uri, ["users"]) != independent.hash_postgres(
        world.auth_uri, ["users"]
    )
    assert independent.hash_mongo(world.mongo_uri, db) == before["mongo"]
    copied = boto3.client("s3", **world.s3_kwargs).list_objects_v2(Bucket=bucket, Prefix="uploads/")
    assert copied["KeyCount"] == 10
    assert world.status("0001") == "applied"
    assert run.facts["targets"][0]["label"] == "campus_auth → campus_api"
    world.run("DROP TABLE users, teams", world.api_uri)
    with pymongo.MongoClient(world.mongo_uri) as client:
        client.drop_database(db)


def test_another_database_that_is_not_empty_says_so_and_only_the_resource_is_replaced(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    fill(world)
    write(world.migrations, "0001", None, USERS)
    applied = driver.go("0001")
    world.run("CREATE TABLE teams (id int PRIMARY KEY)", world.api_uri)
    world.run("INSERT INTO teams SELECT generate_series(1, 9)", world.api_uri)
    world.run("CREATE TABLE users (id text PRIMARY KEY)", world.api_uri)
    world.run("INSERT INTO users VALUES ('theirs')", world.api_uri)
    into = {"campus_auth": "campus_api"}
    assert not restorer.plan(applied.id, into=into).empty

    run = restorer.restored(applied.id, into=into)

    assert world.rows("SELECT count(*), sum(n) FROM users", world.api_uri) == [(250, 31375)]
    assert world.rows("SELECT count(*) FROM teams", world.api_uri) == [(9,)]
    (overwritten,) = driver.services(driver.bomb).ledger.backups(run.id)
    assert (overwritten.conn_id, overwritten.fingerprints["users"].count) == ("campus_api", 1)


def test_a_load_into_an_empty_database_that_is_cut_off_goes_on(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    fill(world)
    write(world.migrations, "0001", None, USERS)
    applied = driver.go("0001")
    driver.bomb = Bomb("database put back", 1)

    restorer.restored(applied.id, into={"campus_auth": "campus_api"})

    assert world.rows("SELECT count(*), sum(n) FROM users", world.api_uri) == [(250, 31375)]


# --- after failures, crashes and kills --------------------------------------------------------------------


def half_done(world: World, driver: Driver, *, batch: int = 2) -> str:
    """Leave an upgrade half-way: its worker is gone in a batch, its lease is held, its DAG run lives."""
    write(world.migrations, "0001", None, "from dataclasses import replace\n" + THREE)
    driver.bomb = Bomb("batch committed", batch)
    _, revision, run = driver.open("0001")
    driver.living = {run.caller.dag_run_id}
    services = driver.services(driver.bomb)
    for database in revision.databases:
        take_backup(services, revision, run, database)
    prove_backups(services, revision, run)
    with pytest.raises(Crash):
        upgrade(services, revision, run)
    driver.bomb = lambda place: None
    return run.id


def upgrade(services: Services, revision: Revision, run: Run) -> None:
    for step in range(1, len(revision.upgrade) + 1):
        for shard in range(len(plan_step(services, revision, run, "upgrade", step, shards=2))):
            run_step_shard(services, revision, run, "upgrade", step, shard, holder="first")


@pytest.mark.parametrize("batch", [1, 2, 4, 6])
def test_a_backup_that_was_taken_while_a_lease_was_held_leaves_nothing_in_the_way(
    world: World, driver: Driver, restorer: Restorer, batch: int
) -> None:
    fill(world)
    before = world.hashes()
    left = half_done(world, driver, batch=batch)
    assert world.hashes() != before
    with pytest.raises(Refused, match=f"run {left}.*holds the chain"):
        restorer.open(left)
    driver.living = set()

    run = restorer.restored(left)

    assert world.hashes() == before
    assert world.status("0001") == "rolled_back"
    ledger = driver.services(driver.bomb).ledger
    assert ledger.run(left).status is RunStatus.ROLLED_BACK
    assert run.facts["closes"] == [left]
    assert ledger.lease_age(left) is None
    upgraded = driver.go("0001")
    assert upgraded.status is RunStatus.APPLIED, driver.log.text
    assert world.rows("SELECT sum(n) FROM users") == [(31375 + 250,)]
    assert {note["n"] - int(note["_id"][1:]) for note in world.documents("notes")} == {1}


def test_a_worker_that_wakes_up_behind_a_restore_writes_nothing(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    from lockstep.domain.errors import StaleEpoch

    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, USERS)
    services, revision, run = driver.open("0001")
    for database in revision.databases:
        take_backup(services, revision, run, database)
    prove_backups(services, revision, run)
    plan_step(services, revision, run, "upgrade", 1, shards=1)
    woken: list[str] = []

    def frozen(place: str) -> None:
        """Let a whole restore pass while the worker stands between two batches."""
        if place == "batch committed" and not woken:
            woken.append(place)
            restorer.restored(run.id)

    with pytest.raises(StaleEpoch):
        run_step_shard(driver.services(frozen), revision, run, "upgrade", 1, 0, holder="zombie")
    assert woken
    assert world.hashes() == before


def test_a_failed_run_is_settled_by_its_backup(world: World, driver: Driver, restorer: Restorer) -> None:
    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, UNDOABLE)
    failed = driver.go("0001")
    assert failed.status is RunStatus.FAILED, driver.log.text
    with pytest.raises(Refused, match=f"restore with backup = '{failed.id}'"):
        driver.go("0001")

    restorer.restored(failed.id)

    assert world.hashes() == before
    assert world.status("0001") == "rolled_back"
    write(world.migrations, "0001", None, USERS)
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text


def test_a_part_of_a_failed_upgrade_can_be_put_back_and_resume_takes_back_the_rest(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    fill(world)
    before = world.hashes()
    left = half_done(world, driver, batch=6)
    driver.living = set()

    restorer.restored(left, only=["users"])

    assert world.status("0001") == "failed"
    resumed = driver.go("0001", resume=True)
    assert resumed.id == left
    assert resumed.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before


def test_a_backup_before_a_downgrade_makes_the_revision_applied_again_with_its_way_back(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    fill(world)
    before = world.hashes()
    write(world.migrations, "0001", None, "from dataclasses import replace\n" + THREE)
    applied = driver.go("0001")
    after = world.hashes()
    down = driver.go("0001", "downgrade")
    assert down.status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before

    restorer.restored(down.id)

    assert world.hashes() == after
    assert world.status("0001") == "applied"
    state = driver.services(driver.bomb).ledger.revisions()["0001"]
    assert state.applied_run == applied.id
    assert driver.go("0001").status is RunStatus.NOTHING_TO_DO
    again = driver.go("0001", "downgrade")
    assert again.status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before
    assert again.facts["differs_from_before"] == []


PLACES = [
    ("run closed", 1),
    ("overwritten backed up", 1),
    ("overwritten backed up", 3),
    ("copy loaded", 1),
    ("copy loaded", 2),
    ("database put back", 1),
    ("database put back", 3),
    ("database restored", 2),
    ("journals rearmed", 1),
]


@pytest.mark.parametrize(("place", "times"), PLACES)
def test_a_restore_that_is_killed_goes_on_in_the_same_dag_run(
    world: World, driver: Driver, restorer: Restorer, place: str, times: int
) -> None:
    fill(world)
    before = world.hashes()
    left = half_done(world, driver, batch=6)
    driver.living = set()
    bomb = Bomb(place, times)
    driver.bomb = bomb

    restorer.restored(left)

    assert bomb.seen >= times
    assert world.hashes() == before
    driver.bomb = lambda place: None
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text


@pytest.mark.parametrize(("place", "times"), PLACES[::2])
def test_a_restore_whose_dag_run_died_is_carried_on_by_the_next(
    world: World, driver: Driver, restorer: Restorer, place: str, times: int
) -> None:
    fill(world)
    before = world.hashes()
    left = half_done(world, driver, batch=6)
    driver.living = set()
    driver.attempts = 1
    driver.bomb = bomb = Bomb(place, times)
    caller = restorer.caller()
    try:
        run = restorer.open(left, caller)
        driver.living = {caller.dag_run_id}
        with pytest.raises(Refused, match="holds the chain"):
            restorer.open(left)
        died(restorer, run.id, left)
    except Crash:
        pass
    driver.living = set()
    assert bomb.seen == times
    driver.bomb = lambda place: None
    with pytest.raises(Refused, match=r"restore .* was left half-way"):
        driver.go("0001")

    restorer.restored(left)

    assert world.hashes() == before
    assert world.rows(
        "SELECT count(*) FROM _migration_runs WHERE direction = 'restore'", world.ledger_uri
    ) == [(1,)]
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text


def died(restorer: Restorer, run_id: str, backup: str) -> None:
    """Do the tasks of a restore until the worker dies, and nothing after that."""
    from lockstep.engine.restoring import back_up_overwritten, end_restore, restore_database
    from lockstep.engine.restoring.work import labels

    services = restorer.driver.services(restorer.driver.bomb)
    run = services.ledger.run(run_id)
    for work in (back_up_overwritten, restore_database):
        for place in range(len(labels(run))):
            work(services, run, place)
    end_restore(services, restorer.chain, run)


def test_the_choices_are_grouped_by_run_and_the_latest_is_first(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    applied = three(world, driver)
    down = driver.go("0001", "downgrade")

    first, second = restorable(driver.services(driver.bomb))

    assert (first.run_id, second.run_id) == (down.id, applied)
    assert [stored.conn_id for stored in second.databases] == [
        "campus_auth",
        "campus_documents",
        "campus_objects",
    ]
    assert second.words.split(" ", 1)[0] == applied
    assert "before the upgrade of 0001, which ended applied" in second.words
    assert "before the downgrade of 0001" in first.words
    assert second.problem is None
    assert second.bytes > 0
