"""A table written anew, through the engine: up, down and up again, failed after it, crashed around it."""

from __future__ import annotations

from pathlib import Path

import pytest
from driver import Bomb, Driver
from revisions import write
from ways import up_down_up
from world import World

from lockstep import ops
from lockstep.domain.chain import load_chain
from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import WayBack
from lockstep.domain.resources import Collection, Mongo, Postgres, Table
from lockstep.domain.status import RunStatus

USERS = """
CREATE TABLE groups (id int PRIMARY KEY);
INSERT INTO groups SELECT generate_series(1, 3);
CREATE TABLE users (
    id serial PRIMARY KEY, n int NOT NULL, name text CHECK (name <> ''), email text UNIQUE, email_lower text,
    team int CONSTRAINT in_team REFERENCES groups, loud text GENERATED ALWAYS AS (upper(email_lower)) STORED
);
CREATE INDEX users_by_name ON users (lower(name)) WHERE n > 3;
INSERT INTO users (n, name, email, team)
SELECT i, 'name ' || i, 'User' || i || '@X', 1 + i % 3 FROM generate_series(1, {count}) i;
CREATE TABLE posts (id int PRIMARY KEY, author int CONSTRAINT by REFERENCES users ON DELETE CASCADE);
INSERT INTO posts SELECT i, i FROM generate_series(1, {count}, 7) i;
CREATE VIEW names AS SELECT id, name FROM users;
"""

ALONE = """
def upgrade():
    yield ops.rewrite_table(Users, {"email_lower": "lower(email)", "n": "n + 1"}, downtime=True)

def downgrade():
    yield ops.restore(Users)
"""

AMONG_OTHERS = """
def upgrade():
    yield ops.update_rows(Users, {"name": "name || '?'"})
    yield ops.rewrite_table(Users, {"email_lower": "lower(email)"}, downtime=True)
    yield ops.transform_rows(Users, more, columns=["n", "email_lower"])
    yield ops.rewrite_table(Users, {"n": "n * 2"}, downtime=True)
    yield ops.drop_column(Users, "email")

def downgrade():
    yield ops.restore(Users)

def more(row):
    return {**row, "n": row["n"] + 1000, "email_lower": row["email_lower"] + "!"}
"""

CASES = {"alone": ALONE, "among others": AMONG_OTHERS}

FAILING = """
def verify():
    yield ops.check(never, touches=Users)

def never(hands):
    return "it is not to be"
"""


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", ["atomic", "batched"])
def test_a_rewrite_goes_up_down_and_up_again(world: World, driver: Driver, name: str, mode: str) -> None:
    world.run(USERS.format(count=450))
    write(world.migrations, "0001", None, CASES[name] + f'\ntransaction = "{mode}"\n')
    up_down_up(world, driver)
    assert world.rows("SELECT count(*) FROM users WHERE loud = upper(email_lower)") == [(450,)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("mode", ["atomic", "batched"])
def test_a_failed_verification_undoes_a_rewrite_exactly(
    world: World, driver: Driver, name: str, mode: str
) -> None:
    world.run(USERS.format(count=450))
    write(world.migrations, "0001", None, CASES[name] + f'\ntransaction = "{mode}"\n' + FAILING)
    before, oid = world.hashes(), world.rows("SELECT 'users'::regclass::oid::int")
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert "it is not to be" in (run.error or "")
    assert world.hashes() == before
    assert world.rows("SELECT 'users'::regclass::oid::int") == oid
    parked = "SELECT count(*) FROM pg_class WHERE relnamespace = 'lockstep_parked'::regnamespace"
    assert world.rows(parked) == [(0,)]


@pytest.mark.parametrize(
    ("mode", "place"),
    [("atomic", "batch written"), ("atomic", "batch committed")]
    + [("batched", place) for place in ("batch opened", "batch written", "batch committed")],
)
def test_a_crash_around_a_rewrite_leaves_it_done_once(
    world: World, driver: Driver, mode: str, place: str
) -> None:
    world.run(USERS.format(count=50))
    write(world.migrations, "0001", None, ALONE + f'\ntransaction = "{mode}"\n')
    bomb = driver.bomb = Bomb(place, 1)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, driver.log.text
    assert bomb.seen >= 1
    assert world.rows("SELECT count(*), sum(n) FROM users WHERE email_lower = lower(email)") == [(50, 1325)]
    assert world.rows("SELECT count(*) FROM lockstep_state.journal") == [(1,)]


@pytest.mark.parametrize("place", ["batch opened", "batch written", "batch committed"])
@pytest.mark.parametrize("times", [2, 3])
def test_a_crash_during_the_undo_of_a_rewrite_still_undoes_it_exactly(
    world: World, driver: Driver, place: str, times: int
) -> None:
    world.run(USERS.format(count=50))
    write(world.migrations, "0001", None, ALONE + '\ntransaction = "batched"\n' + FAILING)
    before = world.hashes()
    seen = driver.bomb = Bomb(place, times)
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert seen.seen >= 2
    assert world.hashes() == before


WRITTEN_BY_OTHERS = """
def upgrade():
    yield ops.rewrite_table(Users, {"email_lower": "lower(email)"}, downtime=True)
    yield ops.run_python(write, touches=Users, reverse=leave)

def downgrade():
    yield ops.restore(Users)

def write(hands):
    hands.open(Users).execute("UPDATE users SET name = 'theirs' WHERE id = 7")

def leave(hands):
    pass
"""


def test_rows_written_since_are_neither_lost_by_an_undo_nor_by_a_downgrade(
    world: World, driver: Driver
) -> None:
    world.run(USERS.format(count=50))
    path = write(world.migrations, "0001", None, WRITTEN_BY_OTHERS + FAILING)
    run = driver.go("0001")
    assert run.status is RunStatus.FAILED, driver.log.text
    assert "1 record(s) changed under the run" in driver.log.text
    assert world.rows("SELECT name, email_lower FROM users WHERE id = 7") == [("theirs", "user7@x")]
    # A person puts the row right, and clears the failed task.
    world.run("UPDATE users SET name = 'name 7' WHERE id = 7")
    again = driver.finish(load_chain(world.migrations)["0001"], run)
    assert again.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.rows("SELECT count(*) FROM users WHERE email_lower IS NULL") == [(50,)]

    path.write_text(path.read_text().replace(FAILING, ""))
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    world.run("INSERT INTO users (n, name, email) VALUES (99, 'came', 'c')")
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text
    assert "2 record(s) were changed since" in driver.log.text
    assert world.rows(
        "SELECT id, name, email_lower FROM users WHERE email_lower <> '' OR id > 49 ORDER BY id"
    ) == [
        (7, "theirs", "user7@x"),
        (50, "name 50", None),
        (world.rows("SELECT max(id) FROM users")[0][0], "came", None),
    ]
    assert world.rows("SELECT count(*) FROM users") == [(51,)]


def test_what_cannot_be_carried_ends_the_run_by_name_with_nothing_changed(
    world: World, driver: Driver
) -> None:
    world.run(USERS.format(count=50) + "CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM users;")
    write(world.migrations, "0001", None, ALONE)
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert "materialized view public.seen" in (run.error or "")
    assert world.hashes() == before


def test_a_value_that_does_not_fit_ends_the_run_with_nothing_changed(world: World, driver: Driver) -> None:
    world.run(USERS.format(count=50))
    write(world.migrations, "0001", None, ALONE.replace("n + 1", "nullif(n, 40)"))
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert 'null value in column "n"' in (run.error or "")
    assert world.hashes() == before


def test_a_rewrite_wants_the_word_that_the_application_is_down(tmp_path: Path) -> None:
    table = Table(Postgres("campus_auth"), "users")
    with pytest.raises(OperationError, match=r"downtime=True.*ops\.update_rows"):
        ops.rewrite_table(table, {"n": "n + 1"})
    write(tmp_path, "0001", None, ALONE.replace(", downtime=True", ""))
    (fault,) = load_chain(tmp_path).faults
    assert "say downtime=True" in str(fault)


@pytest.mark.parametrize("given", [{}, {"n": 1}, {"n": " "}, "n = 1", {"n": "default"}])
def test_a_rewrite_wants_expressions(given: object) -> None:
    with pytest.raises(OperationError, match=r"ops\.rewrite_table"):
        ops.rewrite_table(Table(Postgres("campus_auth"), "users"), given, downtime=True)  # type: ignore[arg-type]


def test_a_rewrite_says_what_it_is() -> None:
    operation = ops.rewrite_table(Table(Postgres("campus_auth"), "users"), {"n": "n + 1"}, downtime=True)
    assert (operation.way_back, operation.lossy, operation.batched) == (WayBack.PARKED, False, False)
    assert operation.fits_in_transaction
    assert "n = n + 1" in operation.describe()
    notes = Collection(Mongo("campus_documents"), "notes")
    with pytest.raises(OperationError, match="update_documents"):
        ops.rewrite_table(notes, {"n": "1"}, downtime=True)  # type: ignore[arg-type]
