"""PostgreSQL operations through the engine: up, down and up again, failed at each batch, crashed at each place."""

from __future__ import annotations

import pytest
from driver import Bomb, Driver
from revisions import write
from ways import up_down_up
from world import World

from lockstep.domain.status import RunStatus

USERS = """
CREATE TABLE users (
    id text PRIMARY KEY, n int NOT NULL, name text, email text UNIQUE, profile jsonb, at timestamptz
);
INSERT INTO users
SELECT 'u' || lpad(i::text, 5, '0'), i, 'name ' || i, 'User' || i || '@X', jsonb_build_object('i', i),
       '2026-01-01'::timestamptz + i * interval '1 second'
FROM generate_series(1, {count}) i;
"""


CASES = {
    "insert_rows": (
        """
def upgrade():
    yield ops.insert_rows(Users, [{"id": "u00001", "n": 7}, {"id": "new", "n": 1, "profile": {"a": [1]}}])

def downgrade():
    yield ops.restore(Users)
"""
    ),
    "sql": (
        """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN nick text", "CREATE INDEX users_n ON users (n)", touches=Users)

def downgrade():
    yield ops.sql(Db, "DROP INDEX users_n", "ALTER TABLE users DROP COLUMN nick", touches=Users)
"""
    ),
    "sql_outside_transaction": (
        """
def upgrade():
    yield ops.sql_outside_transaction(Db, "CREATE INDEX CONCURRENTLY users_n ON users (n)", touches=Users)

def downgrade():
    yield ops.sql_outside_transaction(Db, "DROP INDEX CONCURRENTLY IF EXISTS users_n", touches=Users)
"""
    ),
    "update_rows": (
        """
def upgrade():
    yield ops.update_rows(Users, {"name": "upper(name)", "n": "n + 1"}, where="n % 3 > 0")

def downgrade():
    yield ops.restore(Users)
"""
    ),
    "update_rows with an inverse": (
        """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"}, reverse={"n": "n - 1"})

def downgrade():
    yield ops.update_rows(Users, {"n": "n - 1"})
"""
    ),
    "transform_rows": (
        """
def upgrade():
    yield ops.transform_rows(Users, lower, columns=["email", "profile"])

def downgrade():
    yield ops.restore(Users)

def lower(row):
    row["email"] = row["email"].lower()
    row["profile"]["lower"] = True
    return row
"""
    ),
    "transform_rows with an inverse": (
        """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"], reverse=less)

def downgrade():
    yield ops.transform_rows(Users, less, columns=["n"])

def more(row):
    return {**row, "n": row["n"] + 1}

def less(row):
    return {**row, "n": row["n"] - 1}
"""
    ),
    "drop_column": (
        """
def upgrade():
    yield ops.drop_column(Users, "n")

def downgrade():
    yield ops.restore(Users)
"""
    ),
    "drop_table": (
        """
def upgrade():
    yield ops.drop_table(Users)

def downgrade():
    yield ops.restore(Users)
"""
    ),
    "run_python": (
        """
def upgrade():
    yield ops.run_python(mark, touches=Users, reverse=unmark)

def downgrade():
    yield ops.run_python(unmark, touches=Users, reverse=mark)

def mark(hands):
    hands.open(Users).execute("UPDATE users SET name = 'marked ' || name WHERE name NOT LIKE 'marked %'")

def unmark(hands):
    hands.open(Users).execute("UPDATE users SET name = substr(name, 8) WHERE name LIKE 'marked %'")
"""
    ),
    "a table made, filled and transformed at once": (
        """
Made = Table(Db, "made")

def upgrade():
    yield ops.sql(Db, "CREATE TABLE made (id text PRIMARY KEY, n numeric)", touches=[Made])
    yield ops.insert_rows(Made, [{"id": "a", "n": 1}, {"id": "b", "n": 2}])
    yield ops.transform_rows(Made, more)
    yield ops.update_rows(Made, {"n": "n * 2"})

def downgrade():
    yield ops.sql(Db, "DROP TABLE made", touches=[Made])

def more(row):
    return {**row, "n": row["n"] + 1}

def verify():
    yield ops.expect_count(Made, 1, where="n = 4")
"""
    ),
    "copy in one database": (
        """
Copied = Table(Db, "copied")

def upgrade():
    yield ops.sql(Db, "CREATE TABLE copied (id text PRIMARY KEY, n int, name text)", touches=[Copied])
    yield ops.copy(Users, Copied, map=thin)

def downgrade():
    yield ops.sql(Db, "DROP TABLE copied", touches=[Copied])

def thin(row):
    return {"id": row["id"], "n": row["n"], "name": row["name"]}

def verify():
    yield ops.expect_same_count(Users, Copied)
    yield ops.expect_none(Copied, where="n IS NULL")
"""
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_goes_up_down_and_up_again(world: World, driver: Driver, name: str) -> None:
    world.run(USERS.format(count=450))
    write(world.migrations, "0001", None, CASES[name])
    up_down_up(world, driver)


BATCHED_ONLY = ("sql_outside_transaction", "run_python")


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, "batched") for name in CASES] + [(name, "atomic") for name in CASES if name not in BATCHED_ONLY],
)
def test_a_failed_verification_undoes_it_exactly(world: World, driver: Driver, name: str, mode: str) -> None:
    world.run(USERS.format(count=450))
    body = CASES[name].split("def verify")[0]
    body += f'\ntransaction = "{mode}"\n\ndef verify():\n    yield ops.check(never, touches=Users)\n'
    body += '\ndef never(hands):\n    return "it is not to be"\n'
    write(world.migrations, "0001", None, body)
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before
    assert world.status("0001") == "rolled_back"
    assert "it is not to be" in (run.error or "")
    assert world.labels() == ["started", "backed_up", "rolled_back"]


ADD_ONE = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"]{more})
    yield ops.update_rows(Users, {{"name": "name || '!'"}})

def downgrade():
    yield ops.restore(Users)

def more(row):
    if row["n"] == {poison}:
        raise ValueError("poison")
    return {{**row, "n": row["n"] + 1000}}

def less(row):
    return {{**row, "n": row["n"] - 1000}}
"""


@pytest.mark.parametrize(
    ("poison", "inverse"), [(1, ""), (150, ", reverse=less"), (250, ""), (350, ", reverse=less"), (450, "")]
)
def test_a_failure_at_any_batch_is_undone_exactly(
    world: World, driver: Driver, poison: int, inverse: str
) -> None:
    world.run(USERS.format(count=450))
    write(world.migrations, "0001", None, ADD_ONE.format(poison=poison, more=inverse))
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before
    assert f"'u{poison:05}'" in (run.error or "")
    assert world.rows("SELECT count(*) FROM users WHERE n > 1000") == [(0,)]


PLACES = ["batch opened", "batch written", "batch committed"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("mode", "times"), [("atomic", 1), ("batched", 2), ("batched", 6)])
def test_a_crash_at_any_place_leaves_every_row_transformed_once(
    world: World, driver: Driver, place: str, mode: str, times: int
) -> None:
    world.run(USERS.format(count=450))
    body = ADD_ONE.format(poison=-1, more="") + f'\ntransaction = "{mode}"\n'
    write(world.migrations, "0001", None, body)
    driver.bomb = Bomb(place, times)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, driver.log.text
    assert world.rows(
        "SELECT count(*), count(*) FILTER (WHERE n = substr(id, 2)::int + 1000) FROM users"
    ) == [(450, 450)]
    assert world.rows("SELECT count(*) FROM users WHERE name LIKE '%!' AND name NOT LIKE '%!!'") == [(450,)]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("times", [6, 8])
def test_a_crash_during_the_undo_still_undoes_exactly(
    world: World, driver: Driver, place: str, times: int
) -> None:
    world.run(USERS.format(count=450))
    write(world.migrations, "0001", None, ADD_ONE.format(poison=430, more=""))
    before = world.hashes()
    driver.bomb = Bomb(place, times)
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before


def test_composite_and_uuid_keys_are_batched_in_their_own_order(world: World, driver: Driver) -> None:
    world.run(
        """
        CREATE TABLE users (tenant int, at timestamptz, n int, PRIMARY KEY (tenant, at));
        INSERT INTO users SELECT i % 7, '2026-01-01'::timestamptz + i * interval '1 hour', i
        FROM generate_series(1, 400) i;
        CREATE TABLE keyed (id uuid PRIMARY KEY, n int);
        INSERT INTO keyed SELECT gen_random_uuid(), i FROM generate_series(1, 400) i;
        """
    )
    write(
        world.migrations,
        "0001",
        None,
        """
Keyed = Table(Db, "keyed")

def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])
    yield ops.update_rows(Keyed, {"n": "n + 1"})

def downgrade():
    yield ops.restore(Keyed)
    yield ops.restore(Users)

def more(row):
    return {**row, "n": row["n"] + 1}
""",
    )
    up_down_up(world, driver)
    assert world.rows("SELECT sum(n) FROM users") == [(80200 + 400,)]
    assert world.rows("SELECT sum(n) FROM keyed") == [(80200 + 400,)]


def test_a_table_without_a_primary_key_is_refused_with_the_reason(world: World, driver: Driver) -> None:
    world.run("CREATE TABLE users (n int); INSERT INTO users VALUES (1)")
    write(world.migrations, "0001", None, CASES["update_rows with an inverse"])
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK
    assert "primary key" in (run.error or "")
    assert world.rows("SELECT n FROM users") == [(1,)]


@pytest.mark.parametrize("mode", ["atomic", "batched"])
def test_a_downgrade_that_declares_nothing_takes_nothing_back(
    world: World, driver: Driver, mode: str
) -> None:
    world.run(USERS.format(count=10))
    body = 'def upgrade():\n    yield ops.sql(Db, "UPDATE users SET n = 0", touches=Users)\n'
    body += f'\ndef downgrade():\n    return []\n\ntransaction = "{mode}"\n'
    write(world.migrations, "0001", None, body)
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text
    assert world.rows("SELECT sum(n) FROM users") == [(0,)]


def test_a_statement_that_fails_is_told_and_later_ones_never_ran(world: World, driver: Driver) -> None:
    world.run(USERS.format(count=10))
    write(
        world.migrations,
        "0001",
        None,
        """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN x int", "ALTER TABLE users ADD COLUMN n int", touches=Users)

def downgrade():
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN x", touches=Users)
""",
    )
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert "already exists" in (run.error or "")
    assert world.hashes() == before


def test_a_batched_revision_takes_its_statements_back_with_those_of_downgrade(
    world: World, driver: Driver
) -> None:
    world.run(USERS.format(count=300))
    write(
        world.migrations,
        "0001",
        None,
        """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN nick text", touches=Users)
    yield ops.update_rows(Users, {"nick": "name"})
    yield ops.sql(Db, "ALTER TABLE users ALTER COLUMN nick SET NOT NULL", touches=Users)
    yield ops.transform_rows(Users, fail, columns=["nick"])

def downgrade():
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN nick", touches=Users)

def fail(row):
    if row["nick"] == "name 250":
        raise ValueError("no")
    return {**row, "nick": row["nick"] + "?"}
""",
    )
    before = world.hashes()
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert world.hashes() == before
