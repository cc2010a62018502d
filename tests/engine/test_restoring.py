"""A backup put back: all stores at once, a part, elsewhere, over a change of shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import boto3
import pymongo
import pytest
from driver import Bomb, Driver
from restored import THREE, USERS, fill, spoil, three
from restorer import Restorer, restorer
from revisions import write
from world import World

from lockstep.domain.errors import Refused
from lockstep.domain.resources import Bucket, Database, Mongo
from lockstep.domain.status import RunStatus
from lockstep.engine.restoring import restorable
from lockstep.engine.services import Services, Store
from lockstep.stores.mongo.store import MongoStore
from lockstep.stores.s3.store import S3Store

__all__ = ["restorer"]
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


def test_a_dag_run_that_is_over_puts_nothing_back_when_it_is_cleared(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    applied = three(world, driver)
    caller = restorer.caller()
    restorer.finish(restorer.open(applied, caller))
    spoil(world)
    spoiled = world.hashes()

    with pytest.raises(Refused, match=f"this DAG run is over: .* has put the backup of run {applied} back"):
        restorer.open(applied, caller)

    assert world.hashes() == spoiled


def test_a_dag_run_that_is_half_way_puts_no_other_backup_back(
    world: World, driver: Driver, restorer: Restorer
) -> None:
    applied = three(world, driver)
    down = driver.go("0001", "downgrade")
    caller = restorer.caller()
    run = restorer.open(applied, caller)

    with pytest.raises(Refused, match=f"has begun to put the backup of run {applied} back, and not that"):
        restorer.open(down.id, caller)

    assert restorer.open(applied, caller).id == run.id
