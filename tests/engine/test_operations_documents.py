"""MongoDB operations through the engine: up, down and up again, failed and crashed at each place."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from driver import Bomb, Driver
from revisions import write
from ways import up_down_up
from world import World

from lockstep.domain.status import RunStatus

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def notes(count: int = 450) -> list[dict[str, Any]]:
    return [
        {
            "_id": f"n{i:05}",
            "n": i,
            "at": START + timedelta(seconds=i),
            "replies": [{"text": f"r{j}"} for j in range(i % 3)],
            "z": {"deep": [i, {"x": None}]},
        }
        for i in range(1, count + 1)
    ]


CASES = {
    "insert_documents": """
def upgrade():
    yield ops.insert_documents(Notes, [{"_id": "n00001", "n": 5}, {"_id": "new", "n": 1}])

def downgrade():
    yield ops.restore(Notes)
""",
    "create_collection and its index": """
Fresh = Collection(Docs, "fresh")

def upgrade():
    yield ops.create_collection(Fresh)
    yield ops.create_index(Fresh, ["owner", ("at", -1)])
    yield ops.insert_documents(Fresh, [{"_id": 1, "owner": "a"}])

def downgrade():
    yield ops.restore(Fresh)
""",
    "create_index": """
def upgrade():
    yield ops.create_index(Notes, "n", unique=True)

def downgrade():
    yield ops.drop_index(Notes, "n")
""",
    "set_validator": """
def upgrade():
    yield ops.set_validator(Notes, {"n": {"$exists": True}})
    yield ops.update_documents(Notes, {"$inc": {"n": 1000}})

def downgrade():
    yield ops.restore(Notes)
""",
    "update_documents": """
def upgrade():
    yield ops.update_documents(Notes, {"$inc": {"n": 1000}, "$set": {"seen": True}}, where={"n": {"$gt": 100}})

def downgrade():
    yield ops.restore(Notes)
""",
    "transform_documents": """
def upgrade():
    yield ops.transform_documents(Notes, stamp)

def downgrade():
    yield ops.transform_documents(Notes, unstamp)

def stamp(doc):
    for reply in doc["replies"]:
        reply["at"] = doc["at"]
    return doc

def unstamp(doc):
    for reply in doc["replies"]:
        reply.pop("at", None)
    return doc
""",
    "drop_collection": """
def upgrade():
    yield ops.drop_collection(Notes)

def downgrade():
    yield ops.restore(Notes)
""",
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_goes_up_down_and_up_again(world: World, driver: Driver, name: str) -> None:
    if name == "set_validator":
        driver.log.lines.clear()
    world.insert("notes", notes())
    write(world.migrations, "0001", None, CASES[name])
    up_down_up(world, driver)


@pytest.mark.parametrize("name", CASES)
def test_a_failed_verification_undoes_it_exactly(world: World, driver: Driver, name: str) -> None:
    world.insert("notes", notes())
    body = (
        CASES[name]
        + "\ndef verify():\n    yield ops.check(never, touches=Notes)\n\ndef never(hands):\n    return False\n"
    )
    write(world.migrations, "0001", None, body)
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before
    assert world.labels() == ["started", "backed_up", "rolled_back"]


ADD = """
def upgrade():
    yield ops.transform_documents(Notes, more)
    yield ops.update_documents(Notes, {{"$inc": {{"n": 1}}}})

def downgrade():
    yield ops.restore(Notes)

def more(doc):
    if doc["n"] == {poison}:
        raise ValueError("poison")
    return {{"_id": doc["_id"], "first": 1, **{{**doc, "n": doc["n"] + 1000}}}}
"""


@pytest.mark.parametrize("poison", [1, 150, 450])
def test_a_failure_at_any_batch_is_undone_exactly(world: World, driver: Driver, poison: int) -> None:
    world.insert("notes", notes())
    write(world.migrations, "0001", None, ADD.format(poison=poison))
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert f"'n{poison:05}'" in (run.error or "")
    assert world.hashes() == before


PLACES = ["batch journaled", "batch written", "batch committed"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("times", [1, 3, 7])
def test_a_crash_at_any_place_leaves_every_document_transformed_once(
    world: World, driver: Driver, place: str, times: int
) -> None:
    world.insert("notes", notes())
    write(world.migrations, "0001", None, ADD.format(poison=-1))
    driver.bomb = Bomb(place, times)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, driver.log.text
    found = world.documents("notes")
    assert [doc["n"] for doc in found] == [i + 1001 for i in range(1, 451)]


@pytest.mark.parametrize("place", ["batch taken back", "batch journaled"])
def test_a_crash_during_the_undo_still_undoes_exactly(world: World, driver: Driver, place: str) -> None:
    world.insert("notes", notes())
    write(world.migrations, "0001", None, ADD.format(poison=430))
    before = world.hashes()
    driver.bomb = Bomb(place, 2)
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before


def test_a_document_changed_by_others_since_is_left_alone_by_a_downgrade(
    world: World, driver: Driver
) -> None:
    import pymongo

    world.insert("notes", notes(20))
    write(world.migrations, "0001", None, ADD.format(poison=-1))
    assert driver.go("0001").status is RunStatus.APPLIED
    with pymongo.MongoClient(world.mongo_uri) as client:
        client[world.mongo_db]["notes"].update_one({"_id": "n00003"}, {"$set": {"n": -1}})
    run = driver.go("0001", "downgrade")
    assert run.status is RunStatus.DOWNGRADED, driver.log.text
    assert [doc["n"] for doc in world.documents("notes")][:4] == [1, 2, -1, 4]
    assert "changed since" in driver.log.text


UPDATE = """
def upgrade():
    yield ops.update_documents(Notes, {"$inc": {"n": 1000}})

def downgrade():
    yield ops.restore(Notes)
"""


@pytest.mark.parametrize("body", [UPDATE, ADD.format(poison=-1)], ids=["update", "transform"])
@pytest.mark.parametrize(
    ("place", "crashes"), [("batch journaled", False), ("batch journaled", True), ("batch written", True)]
)
def test_a_document_changed_by_others_under_the_run_is_a_conflict_and_stays_theirs(
    world: World, driver: Driver, body: str, place: str, crashes: bool
) -> None:
    import pymongo

    world.insert("notes", notes())
    write(world.migrations, "0001", None, body)
    crash = Bomb(place, 1)

    def others(here: str) -> None:
        if here == place and not crash.seen:
            with pymongo.MongoClient(world.mongo_uri) as client:
                client[world.mongo_db]["notes"].update_one({"_id": "n00003"}, {"$set": {"n": -1}})
            crash.seen += not crashes
        crash(here)

    driver.bomb = others
    run = driver.go("0001")

    # Neither carried nor taken back: a person has to look at it, and the rest is as it was.
    assert run.status is RunStatus.FAILED, driver.log.text
    assert 'changed under the run while taking it back: "n00003"' in driver.log.text
    assert "1 record(s) changed under the run" in (run.error or "")
    assert {doc["_id"]: doc["n"] for doc in world.documents("notes")}["n00003"] == -1


@pytest.mark.parametrize("verb", ["drop_collection(Notes)", 'create_index(Notes, "n")'])
def test_a_worker_that_was_taken_over_changes_no_structure(world: World, driver: Driver, verb: str) -> None:
    world.insert("notes", notes(5))
    body = f"def upgrade():\n    yield ops.{verb}\n\ndef downgrade():\n    yield ops.restore(Notes)\n"
    write(world.migrations, "0001", None, body)
    reached: list[str] = []

    def taken_over(place: str) -> None:
        reached.append(place)
        if place == "batch journaled":
            ledger = driver.services(lambda place: None).ledger
            (run,) = ledger.runs("0001", limit=1)
            ledger.claim(run.id, "upgrade", 1, 0, "another")

    driver.bomb = taken_over
    run = driver.go("0001")

    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert "another has it, with epoch 2. This worker wrote nothing more" in (run.error or "")
    assert "batch written" not in reached
