"""The shards of a rehearsal in processes of their own: side by side, and in the copies alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from revisions import write
from stage import rehearser_of
from world import World

from lockstep.domain.errors import LockstepError
from lockstep.domain.rehearsal import Verdict
from lockstep.engine.rehearsing.crew import Crew, Job
from lockstep.engine.rehearsing.stage import Stage
from lockstep.orchestration.backstage import place_of
from lockstep.orchestration.crew import Processes

ROWS = 400
SETUP = f"""CREATE TABLE users (id text PRIMARY KEY, n int);
INSERT INTO users SELECT i::text, i FROM generate_series(1, {ROWS}) i"""
#: Slow enough that shards which ran one after the other would be seen to.
THREE = """
import time

def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])
    yield ops.transform_documents(Notes, shout)
    yield ops.transform_objects(Uploads, grow)

def downgrade():
    yield ops.restore(Uploads)
    yield ops.restore(Notes)
    yield ops.restore(Users)

def more(row):
    time.sleep(0.005)
    return {**row, "n": row["n"] + 1}

def shout(note):
    print("a revision may print what it likes")
    return {**note, "text": note["text"].upper()}

def grow(stored):
    return ops.StoredObject(**{**vars(stored), "body": stored.body + b"!"})
"""


class Crews:
    """Makes crews of two, and remembers the processes that they had."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.lines: list[str] = []

    @contextmanager
    def __call__(self, stage: Stage, folder: Path) -> Iterator[Crew]:
        place = place_of(
            stage,
            folder,
            ledger=make_conninfo(self.world.ledger_uri, dbname=stage.ledger_name),
            vault=(dict(self.world.s3_kwargs), self.world.vault, {}),
        )
        assert str(conninfo_to_dict(self.world.ledger_uri)["password"]) not in repr(place)
        with Processes(place, 2) as crew:
            yield crew
            self.lines = [" ".join(child.cmdline()) for child in psutil.Process().children()]


def test_shards_run_side_by_side_in_processes_that_reach_the_copies(world: World) -> None:
    world.run(SETUP)
    world.insert("notes", [{"_id": f"n{i:03}", "text": f"note {i}"} for i in range(50)])
    world.put("uploads/1.txt", b"one")
    write(world.migrations, "0001", None, THREE)
    before = world.hashes()
    crews = Crews(world)
    rehearser = rehearser_of(world, crew=crews, proof="checksum")

    rehearsal = rehearser.go()

    assert rehearsal.verdict is Verdict.GREEN, rehearser.log.text
    assert world.hashes() == before
    operations = rehearser.report["revisions"][0]["upgrade"]["operations"]
    assert [operation["written"] for operation in operations] == [ROWS, 50, 1]
    shards = [shard["seconds"] for shard in operations[0]["shards"]]
    assert len(shards) == 2
    assert operations[0]["seconds"] < sum(shards) * 0.9
    ours = [line for line in crews.lines if "shards_apart" in line]
    assert len(ours) == 2
    password = str(conninfo_to_dict(world.auth_uri)["password"])
    assert not any(password in line or world.s3_kwargs["aws_secret_access_key"] in line for line in ours)
    assert not [c for c in psutil.Process().children() if "shards_apart" in " ".join(c.cmdline())]


def test_a_failure_comes_back_with_its_words(world: World) -> None:
    world.run(SETUP)
    body = """
def upgrade():
    yield ops.transform_rows(Users, bad, columns=["n"])

def downgrade():
    yield ops.restore(Users)

def bad(row):
    if row["id"] == "77":
        raise ValueError("no seventy-seven")
    return {**row, "n": 0}
"""
    write(world.migrations, "0001", None, body)
    rehearser = rehearser_of(world, crew=Crews(world), proof="checksum")

    rehearsal = rehearser.go()

    assert rehearsal.verdict is Verdict.RED
    assert "step 1: transform_rows users" in rehearser.report["why"]
    assert "record '77': bad() raised ValueError: no seventy-seven" in rehearser.report["why"]
    assert rehearser.report["revisions"][0]["upgrade"]["undone"] is True


def test_a_process_that_ends_by_itself_stops_the_rehearsal_and_is_told_of(world: World) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, THREE.replace("time.sleep(0.005)", "import os; os._exit(9)"))
    rehearser = rehearser_of(world, crew=Crews(world), proof="checksum")
    plan = rehearser.open()
    rehearser.back_up(plan)

    with pytest.raises(LockstepError, match=r"ended by itself \(exit 9\)"):
        rehearser.attempt(plan)
    rehearser.end(plan)
    assert rehearser.scratch_spaces() == []


def test_more_jobs_than_processes_are_done_in_turn() -> None:
    from lockstep.orchestration.crew import _shared_out

    class One:
        def __init__(self) -> None:
            self.busy = False
            self.done: list[int] = []

        def do(self, job: Job) -> int:
            assert not self.busy
            self.busy = True
            self.done.append(job.shard)
            self.busy = False
            return job.shard

    processes = [One(), One()]
    jobs = [Job(stem="s", run_id="r", phase="upgrade", step=1, shard=number) for number in range(7)]

    assert _shared_out(processes, jobs) == list(range(7))  # type: ignore[arg-type,comparison-overlap]
    assert sorted(processes[0].done + processes[1].done) == list(range(7))
