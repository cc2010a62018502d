"""What the workers are let loose on: the same counters as rows, documents and objects."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from driver import Driver
from revisions import write
from world import World

from lockstep.domain.revision import Direction, Revision
from lockstep.domain.run import Run
from lockstep.engine.backup import take_backup
from lockstep.engine.proving import prove_backups

#: A counter in each row, and a sequence that counts every write of a row, those that were rolled back too.
ROWS = """
CREATE TABLE users (id text PRIMARY KEY, n int NOT NULL, pad text);
INSERT INTO users SELECT 'u' || lpad(i::text, 7, '0'), i, repeat('x', 40) FROM generate_series(1, {count}) i;
CREATE SEQUENCE touched;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM nextval('touched'); RETURN NEW; END $$;
CREATE TRIGGER touching BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
"""

#: Notes each call where the worker was told to: one short write, so that none is lost or torn.
NOTED = """
import os

def noted(key):
    with open(os.environ["LOCKSTEP_CALLS"], "a") as calls:
        calls.write(f"{key}\\n")
"""
BODIES = {
    "rows by SQL": """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})

def downgrade():
    yield ops.restore(Users)
""",
    "rows by SQL with a reverse": """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"}, reverse={"n": "n - 1"})

def downgrade():
    yield ops.restore(Users)
""",
    "rows by a function": NOTED
    + """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])

def downgrade():
    yield ops.restore(Users)

def more(row):
    noted(row["id"])
    return {"n": row["n"] + 1}
""",
    "documents by a function": NOTED
    + """
def upgrade():
    yield ops.transform_documents(Notes, more)

def downgrade():
    yield ops.restore(Notes)

def more(doc):
    noted(doc["_id"])
    return {**doc, "n": doc["n"] + 1}
""",
    "documents by operators": """
def upgrade():
    yield ops.update_documents(Notes, {"$inc": {"n": 1}})

def downgrade():
    yield ops.restore(Notes)
""",
    "objects by a function": NOTED
    + """
from dataclasses import replace

def upgrade():
    yield ops.transform_objects(Uploads, more)

def downgrade():
    yield ops.restore(Uploads)

def more(item):
    noted(item.key)
    return replace(item, body=str(int(item.body) + 1).encode())
""",
    "objects' metadata by a function": NOTED
    + """
from dataclasses import replace

def upgrade():
    yield ops.update_metadata(Uploads, more)

def downgrade():
    yield ops.restore(Uploads)

def more(info):
    noted(info.key)
    return replace(info, metadata={**info.metadata, "n": str(int(info.metadata["n"]) + 1)})
""",
}


@dataclass(frozen=True, kw_only=True)
class Ground:
    """One kind of store, with so many counters in it."""

    world: World
    #: the first word of a body's name: rows, documents or objects
    store: str
    count: int

    def fill(self) -> None:
        if self.store == "rows":
            self.world.run(ROWS.format(count=self.count))
        elif self.store == "documents":
            self.world.insert("notes", [{"_id": f"n{i:07}", "n": i} for i in range(1, self.count + 1)])
        else:
            for i in range(1, self.count + 1):
                self.world.put(f"uploads/o{i:07}", str(i).encode(), Metadata={"n": str(i)})

    def counters(self, body: str) -> list[int]:
        """Return every record's counter, in the order of the keys."""
        if self.store == "rows":
            return [n for (n,) in self.world.rows("SELECT n FROM users ORDER BY id")]
        if self.store == "documents":
            return [document["n"] for document in self.world.documents("notes")]
        found = sorted(self.world.objects("uploads/").items())
        if "metadata" in body:
            return [int(metadata["n"]) for _, (_, _, metadata, _) in found]
        return [int(content) for _, (content, _, _, _) in found]

    def touched(self) -> int:
        """Return how many writes of rows were begun, whatever became of them."""
        ((called, last),) = self.world.rows("SELECT is_called, last_value FROM touched")
        return last if called else 0

    def hash(self) -> str:
        """Return the independent witness's word on this store."""
        return self.world.hashes()[{"rows": "auth", "documents": "mongo", "objects": "s3"}[self.store]]


def store_of(body: str) -> str:
    return body.split(" ")[0].removesuffix("'")


def ready(
    world: World, driver: Driver, body: str, count: int, direction: Direction = "upgrade", head: str = ""
) -> tuple[Ground, Revision, Run]:
    """Fill a store, open a run over it and prove its backup: what is left is the workers' part."""
    ground = Ground(world=world, store=store_of(body), count=count)
    ground.fill()
    write(world.migrations, "0001", None, head + BODIES[body])
    return ground, *opened(driver, direction)


def opened(driver: Driver, direction: Direction = "upgrade", **params: Any) -> tuple[Revision, Run]:
    """Open the run and prove its backup."""
    services, revision, run = driver.open("0001", direction, **params)
    for database in revision.databases:
        take_backup(services, revision, run, database)
    prove_backups(services, revision, run)
    return revision, run


def wait_until_expired(driver: Driver, run: Run, seconds: float) -> None:
    """Return once the run's lease has run out for so long, on the ledger's clock."""
    ledger = driver.services(driver.bomb).ledger
    until = time.monotonic() + 60
    while (ledger.lease_age(run.id) or -1.0) < seconds:
        assert time.monotonic() < until, "somebody keeps renewing the lease"
        time.sleep(0.1)
