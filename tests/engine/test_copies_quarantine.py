"""A record that a copy's map fails on: left out and listed, by its place in the source, or named by a failed run."""

from __future__ import annotations

from typing import Any

import pytest
from driver import Driver, PlainLog
from revisions import write
from world import World, factory_of

from lockstep.domain.status import RunStatus

COUNT = 60
USERS = f"""
CREATE TABLE users (id text PRIMARY KEY, n int);
INSERT INTO users SELECT 'u' || lpad(i::text, 4, '0'), i FROM generate_series(1, {COUNT}) i;
CREATE TABLE traces (id text PRIMARY KEY, n int);
"""
BODY = """
def upgrade():
    yield ops.copy({source}, {target}, map=made)

def downgrade():
    yield ops.restore({target})

def made({given}):
    if {n} in (7, 33):
        raise ValueError("poison")
    return {result}
"""
ROW = {"given": "row", "n": 'row["n"]'}
BOTH = {
    "table to collection": {
        **ROW,
        "source": "Users",
        "target": "Notes",
        "result": '{"_id": row["id"], "n": row["n"]}',
    },
    "collection to table": {
        **ROW,
        "source": "Notes",
        "target": "Traces",
        "result": '{"id": row["_id"], "n": row["n"]}',
    },
    "objects to collection": {
        "source": "Uploads",
        "target": "Notes",
        "given": "stored",
        "n": "int(stored.body)",
        "result": '{"_id": "x" + stored.key, "n": int(stored.body)}',
    },
}


def filled(world: World, name: str, **settings: Any) -> Driver:
    world.run(USERS)
    world.run("CREATE TABLE traces (id text PRIMARY KEY, n int)", world.api_uri)
    if BOTH[name]["target"] == "Notes":
        world.insert("notes", [{"_id": "mine", "n": 0}])
    if name == "collection to table":
        world.insert("notes", [{"_id": f"n{i:04}", "n": i} for i in range(1, COUNT + 1)])
    for i in range(1, COUNT + 1 if name == "objects to collection" else 1):
        world.put(f"uploads/{i:04}", str(i).encode())
    write(world.migrations, "0001", None, BODY.format(**BOTH[name]))
    log = PlainLog()
    small = {"batch_least": 10, "batch_rows": 10, "batch_documents": 10, "batch_objects": 10}
    return Driver(
        services=factory_of(world, log, **{**small, **settings}), migrations=world.migrations, log=log
    )


def copied(world: World, name: str) -> list[int]:
    if BOTH[name]["target"] == "Notes":
        return sorted(document["n"] for document in world.documents("notes") if document["_id"] != "mine")
    uris = (world.auth_uri, world.api_uri)
    return sorted(n for uri in uris for (n,) in world.rows("SELECT n FROM traces", uri))


@pytest.mark.parametrize("name", BOTH)
def test_what_a_map_fails_on_is_left_out_listed_and_everything_else_is_copied(
    world: World, name: str
) -> None:
    driver = filled(world, name, bad_records="quarantine")
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED_WITH_QUARANTINE, driver.log.text
    assert copied(world, name) == [n for n in range(1, COUNT + 1) if n not in (7, 33)]
    left = driver.services(driver.bomb).ledger.quarantined(run.id)
    assert sorted(one.record.shown[-3:-1] for one in left) == ["07", "33"]
    assert all("poison" in one.record.error for one in left)
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before


@pytest.mark.parametrize("name", BOTH)
def test_where_a_bad_record_fails_the_run_the_target_is_as_it_was_and_the_record_is_named(
    world: World, name: str
) -> None:
    driver = filled(world, name)
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert "poison" in (run.error or "")
    assert "0007" in (run.error or "")
    assert world.hashes() == before
