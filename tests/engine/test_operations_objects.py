"""S3 operations through the engine: up, down and up again, failed and crashed at each place."""

from __future__ import annotations

import pytest
from driver import Bomb, Driver, PlainLog
from revisions import write
from ways import up_down_up
from world import World, factory_of

from lockstep import ops
from lockstep.domain.errors import OperationError
from lockstep.domain.resources import Bucket, Prefix
from lockstep.domain.status import RunStatus

#: two shards of two batches each
COUNT = 16


@pytest.fixture
def driver(world: World) -> Driver:
    """Drive with batches of five: each object costs several requests, and more of them prove nothing more."""
    log = PlainLog()
    services = factory_of(world, log, objects_per_shard=7, batch_objects=5)
    return Driver(services=services, migrations=world.migrations, log=log)


def fill(world: World) -> None:
    for i in range(1, COUNT + 1):
        world.put(
            f"uploads/a b/ü{i:03}.txt",
            str(i).encode(),
            ContentType="text/plain",
            Metadata={"owner": f"u{i}"},
            Tagging="kind=essay",
        )
    world.put("other/stays.txt", b"x")


CASES = {
    "transform_objects": """
def upgrade():
    yield ops.transform_objects(Uploads, more)

def downgrade():
    yield ops.restore(Uploads)

def more(item):
    return replace(item, body=str(int(item.body) + 1000).encode(), metadata={**item.metadata, "seen": "1"})
""",
    "update_metadata": """
def upgrade():
    yield ops.update_metadata(Uploads, label, suffix=".txt")

def downgrade():
    yield ops.restore(Uploads)

def label(info):
    return replace(info, content_type="text/markdown", tags={**info.tags, "owner": info.metadata["owner"]})
""",
    "move_objects": """
Moved = Prefix(Files, "moved/")

def upgrade():
    yield ops.move_objects(Uploads, Moved, rename=flat)

def downgrade():
    yield ops.restore(Uploads)

def flat(rest):
    return rest.replace(" ", "-")
""",
    "move_objects within a prefix": """
def upgrade():
    yield ops.move_objects(Uploads, Uploads, rename=flat)

def downgrade():
    yield ops.move_objects(Uploads, Uploads, rename=back)

def flat(rest):
    return rest.replace("a b/", "a-b/")

def back(rest):
    return rest.replace("a-b/", "a b/")
""",
    "drop_objects": """
def upgrade():
    yield ops.drop_objects(Uploads)

def downgrade():
    yield ops.restore(Uploads)
""",
}
HEAD = "from dataclasses import replace\n"


@pytest.mark.parametrize("name", CASES)
def test_an_operation_goes_up_down_and_up_again(world: World, driver: Driver, name: str) -> None:
    fill(world)
    write(world.migrations, "0001", None, HEAD + CASES[name])
    up_down_up(world, driver)


@pytest.mark.parametrize("name", CASES)
def test_a_failed_verification_undoes_it_exactly(world: World, driver: Driver, name: str) -> None:
    fill(world)
    body = HEAD + CASES[name] + "\ndef verify():\n    yield ops.expect_count(Uploads, 7)\n"
    write(world.migrations, "0001", None, body)
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before


@pytest.mark.parametrize("place", ["batch journaled", "batch written", "batch committed"])
@pytest.mark.parametrize("name", ["transform_objects", "move_objects"])
def test_a_crash_at_any_place_leaves_every_object_changed_once(
    world: World, driver: Driver, place: str, name: str
) -> None:
    fill(world)
    write(world.migrations, "0001", None, HEAD + CASES[name])
    driver.bomb = Bomb(place, 2)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, driver.log.text
    shards = driver.services(lambda place: None).ledger.shards(run.id, "upgrade")
    assert [shard.progress.batches for shard in shards] == [2, 2]
    if name == "transform_objects":
        bodies = sorted(int(body) for body, *_ in world.objects("uploads/").values())
        assert bodies == list(range(1001, 1001 + COUNT))
    else:
        assert world.objects("uploads/") == {}
        assert sorted(int(body) for body, *_ in world.objects("moved/").values()) == list(range(1, COUNT + 1))


def test_an_object_that_would_land_on_another_stops_the_run_and_nothing_is_lost(
    world: World, driver: Driver
) -> None:
    fill(world)
    write(
        world.migrations,
        "0001",
        None,
        """
Moved = Prefix(Files, "moved/")

def upgrade():
    yield ops.move_objects(Uploads, Moved, rename=same)

def downgrade():
    yield ops.restore(Uploads)

def same(rest):
    return "one.txt"
""",
    )
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert "moved/one.txt" in (run.error or "")
    assert world.hashes() == before


@pytest.mark.parametrize("rename", ["'z' * 300 + rest", "{'t': 'u', 'u': 't'}[rest]", "{'t': 'u'}[rest]"])
def test_a_name_that_would_be_renamed_again_within_its_prefix_stops_the_run(
    world: World, driver: Driver, rename: str
) -> None:
    """Pages go on by key, so what moves to a later one, or into another shard's range, is listed once more."""
    world.put("uploads/t", b"x")
    body = f"""
def upgrade():
    yield ops.move_objects(Uploads, Uploads, rename=renamed)

def downgrade():
    yield ops.restore(Uploads)

def renamed(rest):
    return {rename}
"""
    write(world.migrations, "0001", None, body)
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert "record 'uploads/t': renamed() makes " in (run.error or "")
    assert "is met again" in (run.error or "")
    assert world.hashes() == before


@pytest.mark.parametrize(("source", "target"), [("a/", "a/b/"), ("a/b/", "a/")])
def test_prefixes_inside_one_another_are_refused_with_a_way_that_works(source: str, target: str) -> None:
    files = Bucket("campus_objects")
    first, second = Prefix(files, source), Prefix(files, target)
    with pytest.raises(OperationError, match="the outer prefix to itself with a rename="):
        ops.move_objects(first, second)
    with pytest.raises(OperationError, match=r"lie inside one another.*ops\.move_objects from there"):
        ops.copy(first, second)
    ops.copy(first, Prefix(Bucket("campus_backup"), target))
