"""Copies between any two kinds of resource: idempotent, compared with their source, and taken back."""

from __future__ import annotations

import json

import pytest
from driver import Bomb, Driver
from revisions import write
from ways import up_down_up
from world import World

from lockstep.domain.status import RunStatus

COUNT = 120
SETUP = f"""
CREATE TABLE users (id text PRIMARY KEY, n int, price numeric(9,2), at timestamptz, profile jsonb, gone text);
INSERT INTO users SELECT 'u' || lpad(i::text, 4, '0'), i, i / 4.0, '2026-01-01'::timestamptz + i * interval '1 ms',
    jsonb_build_object('tags', jsonb_build_array(i, 'x')), NULL FROM generate_series(1, {COUNT}) i;
"""
TARGET = "CREATE TABLE traces (id text PRIMARY KEY, n int, tags jsonb, at timestamptz)"

CASES = {
    "table to collection": """
def upgrade():
    yield ops.copy(Users, Notes, map=thin)

def downgrade():
    yield ops.restore(Notes)

def thin(row):
    return {"_id": row["id"], "n": row["n"], "at": row["at"], "profile": row["profile"]}

def verify():
    yield ops.expect_same_count(Users, Notes)
""",
    "collection to table": """
def upgrade():
    yield ops.copy(Notes, Traces)

def downgrade():
    yield ops.restore(Traces)

def verify():
    yield ops.expect_same_count(Notes, Traces)
""",
    "table to objects": """
def upgrade():
    yield ops.copy(Users, Uploads)

def downgrade():
    yield ops.restore(Uploads)
""",
    "collection to objects": """
def upgrade():
    yield ops.copy(Notes, Uploads)

def downgrade():
    yield ops.restore(Uploads)
""",
    "objects to table": """
Papers = Prefix(Files, "papers/")

def upgrade():
    yield ops.copy(Papers, Traces, map=row)

def downgrade():
    yield ops.restore(Traces)

def row(item):
    return {"id": item.key, "n": int(item.body), "tags": dict(item.tags)}
""",
    "objects to collection": """
Papers = Prefix(Files, "papers/")

def upgrade():
    yield ops.copy(Papers, Notes, map=document)

def downgrade():
    yield ops.restore(Notes)

def document(item):
    return {"_id": item.key, "body": item.body, "size": len(item.body)}
""",
    "objects to objects": """
Papers = Prefix(Files, "papers/")

def upgrade():
    yield ops.copy(Papers, Uploads)

def downgrade():
    yield ops.restore(Uploads)
""",
    "table to a table elsewhere": """
def upgrade():
    yield ops.copy(Users, Traces, map=thin)

def downgrade():
    yield ops.restore(Traces)

def thin(row):
    return None if row["n"] % 2 else {"id": row["id"], "n": row["n"], "tags": row["profile"]["tags"]}
""",
    "a move: copied, then dropped": """
def upgrade():
    yield ops.copy(Users, Notes, map=thin)
    yield ops.drop_table(Users)

def downgrade():
    yield ops.restore(Users)
    yield ops.restore(Notes)

def thin(row):
    return {"_id": row["id"], "n": row["n"]}
""",
}


def prepare(world: World) -> None:
    world.run(SETUP)
    world.run(TARGET, world.api_uri)
    world.run("INSERT INTO traces (id, n) VALUES ('u0002', -1), ('n0002', -1), ('mine', 0)", world.api_uri)
    world.insert("notes", [{"_id": f"n{i:04}", "n": i, "tags": [i, "y"]} for i in range(1, 31)])
    for i in range(1, 31):
        world.put(f"papers/p{i:02}.txt", str(i).encode(), Tagging="kind=essay")


def clear(world: World, name: str) -> None:
    """Empty the collection where a case's promise is about it alone."""
    if "same_count(Users, Notes)" in CASES[name]:
        import pymongo

        with pymongo.MongoClient(world.mongo_uri) as client:
            client[world.mongo_db]["notes"].delete_many({})
    if "same_count(Notes, Traces)" in CASES[name]:
        world.run("DELETE FROM traces WHERE id <> 'n0002'", world.api_uri)


@pytest.mark.parametrize("name", CASES)
def test_a_copy_goes_up_down_and_up_again(world: World, driver: Driver, name: str) -> None:
    prepare(world)
    clear(world, name)
    write(world.migrations, "0001", None, CASES[name])
    up_down_up(world, driver)


@pytest.mark.parametrize("name", ["table to collection", "collection to table", "table to objects"])
@pytest.mark.parametrize("place", ["batch journaled", "batch written", "batch committed"])
def test_a_crash_in_a_copy_copies_every_record_once(
    world: World, driver: Driver, name: str, place: str
) -> None:
    prepare(world)
    clear(world, name)
    write(world.migrations, "0001", None, CASES[name])
    driver.bomb = Bomb(place, 1)
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text


def test_a_row_becomes_a_document_without_its_nulls_and_numbers_agree(world: World, driver: Driver) -> None:
    prepare(world)
    clear(world, "table to collection")
    write(world.migrations, "0001", None, CASES["table to collection"])
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    assert len(world.documents("notes")) == COUNT
    first = world.documents("notes")[0]
    assert first["n"] == 1
    assert first["profile"] == {"tags": [1, "x"]}


def test_a_row_becomes_a_json_object_named_by_its_key(world: World, driver: Driver) -> None:
    prepare(world)
    write(world.migrations, "0001", None, CASES["table to objects"])
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    body, content_type, _, _ = world.objects("uploads/")["uploads/u0007.json"]
    assert content_type == "application/json"
    assert json.loads(body)["n"] == 7


def test_a_target_record_that_was_there_is_overwritten_and_comes_back(world: World, driver: Driver) -> None:
    prepare(world)
    write(world.migrations, "0001", None, CASES["table to a table elsewhere"])
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    assert world.rows("SELECT n FROM traces WHERE id = 'u0002'", world.api_uri) == [(2,)]
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED
    assert world.rows("SELECT id, n FROM traces ORDER BY id", world.api_uri) == [
        ("mine", 0),
        ("n0002", -1),
        ("u0002", -1),
    ]


def test_a_map_that_forgets_the_key_names_the_record(world: World, driver: Driver) -> None:
    prepare(world)
    body = CASES["table to collection"].replace('"_id": row["id"], ', "")
    write(world.migrations, "0001", None, body)
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK
    assert "'u0001'" in (run.error or "")
    assert "_id" in (run.error or "")
    assert world.hashes() == before
