"""The example application's whole chain, rehearsed over a small Campus."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

from stage import rehearser_of
from world import World

from campus.fill import Targets, fill
from campus.shapes import Size
from lockstep.domain.rehearsal import Verdict

ROOT = Path(__file__).parents[2]
SMALL = Size(users=60, sessions=40, submissions=80, uploads=12)


def test_the_example_is_green_from_the_first_revision_to_the_last(world: World) -> None:
    world.migrations.rmdir()
    shutil.copytree(ROOT / "migrations", world.migrations, ignore=shutil.ignore_patterns("__pycache__"))
    with closing(world.s3) as client:
        fill(
            Targets(
                auth_uri=world.auth_uri,
                yapper_uri=world.yapper_uri,
                mongo_uri=world.mongo_uri,
                s3_client=client,
                mongo_database=world.mongo_db,
                bucket=world.bucket,
            ),
            SMALL,
        )
    before = world.hashes()
    rehearser = rehearser_of(world, proof="checksum")

    rehearsal = rehearser.go()

    assert rehearsal.verdict is Verdict.GREEN, rehearser.report["why"]
    assert world.hashes() == before
    revisions = rehearser.report["revisions"]
    assert len(revisions) == len(list(world.migrations.glob("*.py")))
    assert set(rehearsal.predicted) == {one["id"] for one in revisions}
    assert all(one["differences"] == [] for one in revisions)
    shown = sum(len(op["samples"]) for one in revisions for op in one["upgrade"]["operations"])
    assert shown > 50
    assert rehearser.scratch_spaces() == []
