"""What is rehearsed in the tests: three stores with something in each, and revisions over them."""

from __future__ import annotations

import pytest
from stage import Rehearser, rehearser_of
from world import World

ROWS = 500
NOTES = 120
FILES = 12
SETUP = f"""CREATE TABLE teams (id int PRIMARY KEY, name text NOT NULL);
INSERT INTO teams SELECT i, 'team ' || i FROM generate_series(1, 20) i;
CREATE TABLE users (id text PRIMARY KEY, team int REFERENCES teams, n int, password_hash text);
INSERT INTO users SELECT i::text, 1 + i % 20, i, 'secret ' || i FROM generate_series(1, {ROWS}) i"""

#: Over all three stores, with a change of the catalog first.
THREE = """
def upgrade():
    yield ops.sql_outside_transaction(Db, "CREATE INDEX CONCURRENTLY users_n ON users (n)", touches=Users,
                                      reverse="DROP INDEX CONCURRENTLY users_n")
    yield ops.transform_rows(Users, more, columns=["n", "password_hash"])
    yield ops.transform_documents(Notes, shout)
    yield ops.transform_objects(Uploads, grow)

def downgrade():
    yield ops.restore(Uploads)
    yield ops.restore(Notes)
    yield ops.restore(Users)
    yield ops.sql_outside_transaction(Db, "DROP INDEX CONCURRENTLY users_n", touches=Users)

def verify():
    yield ops.expect_count(Users, 500)
    yield ops.expect_none(Notes, where={"text": {"$regex": "^[a-z]"}})

def more(row):
    return {**row, "n": row["n"] + 1, "password_hash": row["password_hash"] + "!"}

def shout(note):
    return {**note, "text": note["text"].upper()}

def grow(stored):
    return ops.StoredObject(**{**vars(stored), "body": stored.body + b"!"})
"""


#: One that is quick.
ADD = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})

def downgrade():
    yield ops.restore(Users)
"""


def fill(world: World) -> None:
    world.run(SETUP)
    world.insert("notes", [{"_id": f"n{i:03}", "text": f"note {'abc'[i % 3]}"} for i in range(NOTES)])
    for number in range(FILES):
        world.put(f"uploads/{number:03}.txt", f"body {number}".encode(), Metadata={"n": str(number)})


@pytest.fixture
def rehearser(world: World) -> Rehearser:
    return rehearser_of(world)
