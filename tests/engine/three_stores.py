"""One small revision over all three stores: three batches in each, none of which may be done twice."""

from __future__ import annotations

from typing import Any

from driver import Driver
from revisions import write
from world import World

from lockstep.domain.errors import Refused

#: settings by which each step has three batches
SMALL: dict[str, Any] = {"batch_rows": 20, "batch_documents": 20, "batch_objects": 5}
ROWS, DOCUMENTS, OBJECTS = 50, 50, 13
#: batches of the whole plan
BATCHES = 9
PLAN = """
from dataclasses import replace

def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])
    yield ops.transform_documents(Notes, more)
    yield ops.transform_objects(Uploads, more_of)

def downgrade():
    yield ops.restore(Uploads)
    yield ops.restore(Notes)
    yield ops.restore(Users)

def more(record):
    return {**record, "n": record["n"] + 1}

def more_of(item):
    return replace(item, body=str(int(item.body) + 1).encode(), tags={**item.tags, "seen": "yes"})
"""
#: fails once everything is done
UNTRUE = """
def verify():
    yield ops.expect_count(Users, 7)
"""


def fill(world: World) -> None:
    world.run(
        "CREATE TABLE users (id text PRIMARY KEY, n int NOT NULL, pad text DEFAULT 'x');"
        f"INSERT INTO users SELECT 'u' || lpad(i::text, 4, '0'), i FROM generate_series(1, {ROWS}) i;"
        "CREATE INDEX users_n ON users (n)"
    )
    world.insert("notes", [{"_id": f"n{i:04}", "n": i} for i in range(1, DOCUMENTS + 1)])
    for i in range(1, OBJECTS + 1):
        world.put(
            f"uploads/o {i:04}.txt",
            str(i).encode(),
            ContentType="text/plain",
            Metadata={"owner": f"u{i}"},
            Tagging="kind=essay",
        )


def ready(world: World, extra: str = "") -> dict[str, str]:
    """Fill the stores and write the revision; return the independent hashes of everything."""
    fill(world)
    write(world.migrations, "0001", None, PLAN + extra)
    return world.hashes()


def counters(world: World) -> list[int]:
    """Return every record's counter, over all stores."""
    return [
        *(n for (n,) in world.rows("SELECT n FROM users ORDER BY id")),
        *(note["n"] for note in world.documents("notes")),
        *(int(body) for _, (body, *_) in sorted(world.objects("uploads/").items())),
    ]


#: what the counters are after one upgrade
ONCE = [*range(2, ROWS + 2), *range(2, DOCUMENTS + 2), *range(2, OBJECTS + 2)]


def walked(world: World, run_id: str) -> list[str]:
    """Return the statuses that the revision went through in a run."""
    found = world.rows(
        f"SELECT to_status FROM _migration_history WHERE run_id = '{run_id}' AND kind = 'status' ORDER BY id",
        world.ledger_uri,
    )
    return [status for (status,) in found]


def scratches(driver: Driver, revision_id: str = "0001") -> list[str]:
    """Return the scratch spaces that are left beside the revision's databases."""
    from lockstep.domain.chain import load_chain

    services = driver.services(driver.bomb)
    databases = load_chain(driver.migrations)[revision_id].databases
    return [name for database in databases for name in services.store(database).scratches()]


class Failing:
    """Fail, and let every retry fail no more, the n-th time that a place is reached."""

    def __init__(self, place: str, times: int) -> None:
        self.place, self.times, self.seen = place, times, 0

    def __call__(self, place: str) -> None:
        if place == self.place:
            self.seen += 1
            if self.seen == self.times:
                raise Refused(f"made to fail at {place} number {self.times}")
