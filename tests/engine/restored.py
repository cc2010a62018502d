"""What is put back in the tests of restores: three stores with something in each, revisions over them, and damage."""

from __future__ import annotations

import pymongo
from driver import Driver
from restorer import Restorer
from revisions import write
from world import World

from lockstep.domain.status import RunStatus

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
