"""One record that cannot be carried, among many that can: found, left as it was, tried again, taken back.

LOCKSTEP_TEST_POISON_ROWS=1000000 runs the tables in the size that is promised.
"""

from __future__ import annotations

import os
import re
from typing import Any

import pymongo
import pytest
from driver import Driver, PlainLog
from revisions import write
from world import World, factory_of

from lockstep.domain.quarantine import QuarantinedRecord
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus

ROWS = int(os.environ.get("LOCKSTEP_TEST_POISON_ROWS", "60000"))
BATCH = 10_000
#: ten thousand are halved so often until one is alone
SPLITS = 14
#: somewhere in the middle of a batch, near no power of two
POISON = ROWS * 6 // 10 + 1234

TABLE = f"""
CREATE TABLE users (
    id int PRIMARY KEY, n int NOT NULL CHECK (n < 1000000000), d int NOT NULL, t text NOT NULL,
    done boolean NOT NULL
);
INSERT INTO users SELECT i, i, 1, '1', false FROM generate_series(1, {ROWS}) i;
ANALYZE users
"""
#: what is wrong with the record, and how a person mends it
DIVISION = ("d = 0", "d = 1")
CAST = ("t = 'one'", "t = '1'")
CHECK = ("n = 999999999", "n = id")
BODY = """
def upgrade():
    yield {operation}{then}

def downgrade():
    yield {back}

def verify():
    yield ops.expect_none(Users, where="NOT done")

def more(row):
    return {{"n": row["n"] + 1 // row["d"], "done": True}}

def less(row):
    return {{"n": row["n"] - 1, "done": False}}

def boom(hands):
    raise ValueError("boom")

def unboom(hands):
    pass
"""
SQL = 'ops.update_rows(Users, {"n": "n + t::int / d", "done": "true"})'
SQL_EXACT = (
    'ops.update_rows(Users, {"n": "n + t::int / d", "done": "true"}, reverse={"n": "n - 1", "done": "false"})'
)
BACK = 'ops.update_rows(Users, {"n": "n - 1", "done": "false"})'
FUNCTION = 'ops.transform_rows(Users, more, columns=["n", "d", "done"])'
FUNCTION_EXACT = 'ops.transform_rows(Users, more, columns=["n", "d", "done"], reverse=less)'
FUNCTION_BACK = 'ops.transform_rows(Users, less, columns=["n", "d", "done"])'
FAILS = "\n    yield ops.run_python(boom, touches=Users, reverse=unboom)"


def driver_of(world: World, **settings: Any) -> Driver:
    log = PlainLog()
    exact = {"batch_least": BATCH, "batch_rows": BATCH, "batch_seconds": 600.0, "batch_documents": 100}
    return Driver(
        services=factory_of(world, log, **{"bad_records": "quarantine", **exact, **settings}),
        migrations=world.migrations,
        log=log,
    )


def poisoned(
    world: World,
    operation: str = SQL,
    wrong: str = DIVISION[0],
    back: str = "ops.restore(Users)",
    then: str = "",
    among: str = f"id = {POISON}",
) -> None:
    world.run(TABLE)
    world.run(f"UPDATE users SET {wrong} WHERE {among}")
    write(world.migrations, "0001", None, BODY.format(operation=operation, back=back, then=then))


def waiting(driver: Driver, run: Run | None = None) -> list[QuarantinedRecord]:
    return driver.services(driver.bomb).ledger.quarantined(run.id if run else None)


def splits(driver: Driver) -> list[int]:
    return [int(found) for found in re.findall(r"found alone after (\d+) split", driver.log.text)]


def carried(world: World) -> int:
    """Return how many rows were carried exactly once."""
    return int(world.rows("SELECT count(*) FROM users WHERE n = id + 1 AND done")[0][0])


def poison(world: World) -> tuple[Any, ...]:
    return tuple(world.rows(f"SELECT n, d, t, done FROM users WHERE id = {POISON}")[0])


@pytest.mark.parametrize(
    ("operation", "wrong", "told"),
    [
        (SQL, DIVISION, "division by zero"),
        (SQL_EXACT, CAST, "invalid input syntax"),
        (SQL, CHECK, "check constraint"),
        (FUNCTION, CHECK, "check constraint"),
        (FUNCTION, DIVISION, "ZeroDivisionError"),
    ],
)
def test_one_poison_row_is_found_and_left_as_it_was_and_all_others_are_carried(
    world: World, operation: str, wrong: tuple[str, str], told: str
) -> None:
    poisoned(world, operation, wrong[0])
    before = poison(world)
    driver = driver_of(world)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED_WITH_QUARANTINE, driver.log.text
    assert carried(world) == ROWS - 1
    assert poison(world) == before
    (left,) = waiting(driver, run)
    assert (left.conn_id, left.resource, left.record.shown.strip("'")) == (
        "campus_auth",
        "users",
        str(POISON),
    )
    assert told in left.record.error
    # What a function, or the write of single rows, fails on is named at once; for a statement it is hunted.
    assert len(splits(driver)) == (1 if operation in (SQL, SQL_EXACT) else 0), driver.log.text
    assert all(0 < found <= SPLITS for found in splits(driver)), splits(driver)
    assert driver.outcome(run)["quarantined"] == 1
    assert world.status("0001") == "applied"


def test_poison_rows_beyond_the_budget_end_the_run_and_everything_is_as_before(world: World) -> None:
    poisoned(world, among=f"id IN (17, {POISON}, {ROWS})")
    before = world.hashes()
    driver = driver_of(world, quarantine_budget=2)
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert "budget is 2" in (run.error or "")
    assert str(ROWS) in (run.error or "")
    assert world.hashes() == before
    again = driver_of(world, quarantine_budget=3)
    again.dag_runs = 1
    assert again.go("0001").status is RunStatus.APPLIED_WITH_QUARANTINE, again.log.text
    assert carried(world) == ROWS - 3


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [(SQL, DIVISION), (SQL_EXACT, CHECK), (FUNCTION, DIVISION), (FUNCTION_EXACT, CHECK)],
)
def test_where_a_bad_record_fails_the_run_the_table_is_what_it_was_and_the_error_names_the_record(
    world: World, operation: str, wrong: tuple[str, str]
) -> None:
    poisoned(world, operation, wrong[0])
    before = world.hashes()
    driver = driver_of(world, bad_records="fail")
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert re.search(rf"record .?{POISON}\b", run.error or ""), run.error
    assert world.hashes() == before
    assert waiting(driver) == []
    assert all(found <= SPLITS for found in splits(driver))


@pytest.mark.parametrize(
    ("operation", "wrong"), [(SQL, DIVISION), (SQL_EXACT, CHECK), (FUNCTION, DIVISION), (FUNCTION, CHECK)]
)
def test_a_mended_record_is_carried_by_a_redrive_which_touches_no_other(
    world: World, operation: str, wrong: tuple[str, str]
) -> None:
    poisoned(world, operation, wrong[0])
    driver = driver_of(world)
    first = driver.go("0001")
    assert first.status is RunStatus.APPLIED_WITH_QUARANTINE, driver.log.text
    world.run(f"UPDATE users SET {wrong[1]} WHERE id = {POISON}")
    stamps = world.rows(f"SELECT md5(string_agg(xmin::text, '' ORDER BY id)) FROM users WHERE id <> {POISON}")
    again = driver.go("0001", redrive=True)
    assert again.status is RunStatus.APPLIED, driver.log.text
    assert again.id != first.id
    assert carried(world) == ROWS
    # Not even written with what they held.
    assert (
        world.rows(f"SELECT md5(string_agg(xmin::text, '' ORDER BY id)) FROM users WHERE id <> {POISON}")
        == stamps
    )
    (left,) = waiting(driver, first)
    assert left.resolved_by == again.id
    assert waiting(driver) == []
    assert driver.go("0001", redrive=True).status is RunStatus.NOTHING_TO_DO


def test_a_record_that_fails_again_waits_on_and_a_later_redrive_carries_it(world: World) -> None:
    poisoned(world)
    driver = driver_of(world)
    first = driver.go("0001")
    second = driver.go("0001", redrive=True)
    assert second.status is RunStatus.APPLIED_WITH_QUARANTINE, driver.log.text
    assert [one.run_id for one in waiting(driver)] == [second.id]
    assert (carried(world), poison(world)) == (ROWS - 1, (POISON, 0, "1", False))
    strict = driver_of(world, bad_records="fail")
    strict.dag_runs = 2
    third = strict.go("0001", redrive=True)
    assert third.status is RunStatus.ROLLED_BACK, strict.log.text
    assert str(POISON) in (third.error or "")
    assert world.status("0001") == "applied"
    assert [one.run_id for one in waiting(driver)] == [second.id]
    assert carried(world) == ROWS - 1
    world.run(f"UPDATE users SET d = 1 WHERE id = {POISON}")
    driver.dag_runs = 3
    fourth = driver.go("0001", redrive=True)
    assert fourth.status is RunStatus.APPLIED, driver.log.text
    assert carried(world) == ROWS
    assert waiting(driver) == []
    assert {one.resolved_by for one in waiting(driver, first)} == {second.id}
    assert {one.resolved_by for one in waiting(driver, second)} == {fourth.id}


@pytest.mark.parametrize("operation", [SQL, SQL_EXACT, FUNCTION, FUNCTION_EXACT])
def test_an_undo_leaves_a_record_in_quarantine_alone(world: World, operation: str) -> None:
    poisoned(world, operation, then=FAILS)
    before = world.hashes()
    driver = driver_of(world)
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert len(waiting(driver, run)) == 1
    assert world.hashes() == before


@pytest.mark.parametrize(
    ("operation", "back"),
    [
        (SQL, "ops.restore(Users)"),
        (SQL_EXACT, "ops.restore(Users)"),
        (SQL, BACK),
        (FUNCTION, "ops.restore(Users)"),
        (FUNCTION_EXACT, FUNCTION_BACK),
    ],
)
def test_a_downgrade_leaves_a_record_in_quarantine_alone(world: World, operation: str, back: str) -> None:
    poisoned(world, operation, back=back)
    before = world.hashes()
    driver = driver_of(world)
    assert driver.go("0001").status is RunStatus.APPLIED_WITH_QUARANTINE, driver.log.text
    down = driver.go("0001", "downgrade")
    assert down.status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before


@pytest.mark.parametrize(
    ("operation", "back"),
    [(SQL, "ops.restore(Users)"), (SQL_EXACT, "ops.restore(Users)"), (SQL, BACK), (FUNCTION, FUNCTION_BACK)],
)
def test_a_downgrade_takes_a_redriven_record_back_with_the_others(
    world: World, operation: str, back: str
) -> None:
    poisoned(world, operation, back=back)
    driver = driver_of(world)
    driver.go("0001")
    world.run(f"UPDATE users SET d = 1 WHERE id = {POISON}")
    assert driver.go("0001", redrive=True).status is RunStatus.APPLIED, driver.log.text
    down = driver.go("0001", "downgrade")
    assert down.status is RunStatus.DOWNGRADED, driver.log.text
    assert world.rows("SELECT count(*) FROM users WHERE n = id AND NOT done") == [(ROWS,)]
    # What was left once is history: a new application carries all.
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    assert carried(world) == ROWS


def test_a_poison_row_is_found_again_after_a_crash_in_the_middle_of_the_hunt(world: World) -> None:
    from driver import Bomb

    poisoned(world)
    driver = driver_of(world)
    # The hunt opens a batch for each split.
    driver.bomb = Bomb("batch opened", POISON // BATCH + 5)
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED_WITH_QUARANTINE, driver.log.text
    assert (carried(world), len(waiting(driver, run))) == (ROWS - 1, 1)


DOCUMENTS = """
def upgrade():
    yield {operation}{then}

def downgrade():
    yield ops.restore(Notes)

def verify():
    yield ops.expect_none(Notes, where={{"done": {{"$exists": False}}, "kind": "a"}})

def more(doc):
    return {{**doc, "n": doc["n"] + 1000 // doc["d"], "done": True}}

def boom(hands):
    raise ValueError("boom")

def unboom(hands):
    pass
"""
BY_FUNCTION = 'ops.transform_documents(Notes, more, where={"kind": "a"})'
BY_OPERATORS = (
    'ops.update_documents(Notes, {"$inc": {"n": 1000}, "$set": {"done": True}}, where={"kind": "a"})'
)
DOCUMENT_FAILS = "\n    yield ops.run_python(boom, touches=Notes, reverse=unboom)"


def notes(world: World, *, clash: bool) -> None:
    """Fill 450 documents, one of which fails: by its own content, or because the server refuses its new value."""
    made = [{"_id": f"n{i:05}", "kind": "a", "n": i, "d": 1} for i in range(1, 451)]
    if clash:
        made.append({"_id": "other", "kind": "b", "n": 1333, "d": 1})
        with pymongo.MongoClient(world.mongo_uri) as client:
            client[world.mongo_db]["notes"].create_index("n", unique=True)
    else:
        made[332]["d"] = 0
    world.insert("notes", made)


@pytest.mark.parametrize(
    ("operation", "clash"), [(BY_FUNCTION, False), (BY_FUNCTION, True), (BY_OPERATORS, True)]
)
def test_one_poison_document_is_left_redriven_and_taken_back(
    world: World, operation: str, clash: bool
) -> None:
    notes(world, clash=clash)
    write(world.migrations, "0001", None, DOCUMENTS.format(operation=operation, then=""))
    before, poison = world.hashes(), world.documents("notes")[332]
    strict = driver_of(world, bad_records="fail", batch_least=10)
    failed = strict.go("0001")
    assert failed.status is RunStatus.ROLLED_BACK, strict.log.text
    assert "n00333" in (failed.error or "")
    assert world.hashes() == before
    driver = driver_of(world, batch_least=10)
    driver.dag_runs = 1
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED_WITH_QUARANTINE, driver.log.text
    assert [one.record.shown.strip("'") for one in waiting(driver, run)] == ["n00333"]
    assert world.documents("notes")[332] == poison
    assert (
        sum(document.get("n", 0) > 1000 and "done" in document for document in world.documents("notes"))
        == 449
    )
    down = driver.go("0001", "downgrade")
    assert down.status is RunStatus.DOWNGRADED, driver.log.text
    assert world.hashes() == before
    assert driver.go("0001").status is RunStatus.APPLIED_WITH_QUARANTINE, driver.log.text
    with pymongo.MongoClient(world.mongo_uri) as client:
        client[world.mongo_db]["notes"].update_one({"_id": "n00333"}, {"$set": {"d": 1}})
        client[world.mongo_db]["notes"].update_one({"_id": "other"}, {"$set": {"n": 5000}})
    again = driver.go("0001", redrive=True)
    assert again.status is RunStatus.APPLIED, driver.log.text
    assert [d["n"] for d in world.documents("notes") if d["kind"] == "a"] == list(range(1001, 1451))
    assert [one for one in waiting(driver) if one.run_id != run.id] == []
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text
    assert [d["n"] for d in world.documents("notes") if d["kind"] == "a"] == list(range(1, 451))


@pytest.mark.parametrize(
    ("operation", "clash"), [(BY_FUNCTION, False), (BY_FUNCTION, True), (BY_OPERATORS, True)]
)
def test_an_undo_leaves_a_document_in_quarantine_alone(world: World, operation: str, clash: bool) -> None:
    notes(world, clash=clash)
    write(world.migrations, "0001", None, DOCUMENTS.format(operation=operation, then=DOCUMENT_FAILS))
    before = world.hashes()
    driver = driver_of(world, batch_least=10)
    run = driver.go("0001")
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    assert len(waiting(driver, run)) == 1
    assert world.hashes() == before


OBJECTS = """
def upgrade():
    yield ops.{verb}(Uploads, more)

def downgrade():
    yield ops.restore(Uploads)

def more(item):
    return replace(item, metadata={{**item.metadata, "n": str(int(item.metadata["n"]) + 1)}})
"""


@pytest.mark.parametrize("verb", ["transform_objects", "update_metadata"])
def test_poison_objects_are_left_redriven_and_taken_back(world: World, verb: str) -> None:
    poison = {"uploads/07", "uploads/31"}
    for i in range(1, 41):
        key = f"uploads/{i:02}"
        world.put(key, str(i).encode(), Metadata={"n": "seven" if key in poison else str(i)})
    write(world.migrations, "0001", None, "from dataclasses import replace\n" + OBJECTS.format(verb=verb))
    before = world.hashes()
    strict = driver_of(world, bad_records="fail", batch_least=10)
    failed = strict.go("0001")
    assert failed.status is RunStatus.ROLLED_BACK, strict.log.text
    assert "uploads/07" in (failed.error or "")
    assert world.hashes() == before
    driver = driver_of(world, batch_least=10)
    driver.dag_runs = 1
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED_WITH_QUARANTINE, driver.log.text
    assert {one.record.shown.strip("'") for one in waiting(driver, run)} == poison
    for i in (7, 31):
        world.put(f"uploads/{i:02}", str(i).encode(), Metadata={"n": str(i)})
    again = driver.go("0001", redrive=True)
    assert again.status is RunStatus.APPLIED, driver.log.text

    def counters() -> list[str]:
        return [metadata["n"] for _, (_, _, metadata, _) in sorted(world.objects("uploads/").items())]

    assert counters() == [str(i) for i in range(2, 42)]
    assert waiting(driver) == []
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, driver.log.text
    assert counters() == [str(i) for i in range(1, 41)]
