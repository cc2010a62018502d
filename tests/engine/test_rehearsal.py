"""A rehearsal: what it copies, what it tries there, what it says, and that nothing live is touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from driver import Driver
from rehearsed import ADD, FILES, NOTES, ROWS, SETUP, THREE, fill, rehearser
from revisions import write
from stage import Rehearser, rehearser_of
from world import World, fresh_world

from lockstep.domain.errors import Refused
from lockstep.domain.rehearsal import Rehearsal, Verdict
from lockstep.domain.status import RunStatus

__all__ = ["rehearser"]


def counters(world: World) -> list[Any]:
    """Return what PostgreSQL counts of rows written in the live databases, their own catalogs included."""
    world.rows("SELECT pg_stat_force_next_flush()")
    return [
        world.rows(
            "SELECT tup_inserted, tup_updated, tup_deleted, temp_files FROM pg_stat_database "
            "WHERE datname = current_database()",
            uri,
        )
        for uri in (world.auth_uri, world.api_uri)
    ]


def everything_in(world: World) -> dict[str, Any]:
    """Return all keys of the bucket and all databases of the live MongoDB, Lockstep's own included."""
    listed = world.s3.list_objects_v2(Bucket=world.bucket).get("Contents", [])
    return {"keys": [(one["Key"], one["ETag"]) for one in listed], "hashes": world.hashes()}


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One rehearsal that went well, and what was there before and after it."""

    world: World
    rehearser: Rehearser
    rehearsal: Rehearsal
    before: tuple[Any, ...]
    after: tuple[Any, ...]
    page: str

    @property
    def report(self) -> dict[str, Any]:
        return self.rehearser.report


@pytest.fixture(scope="module")
def tried(servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    with fresh_world(servers, tmp_path_factory.mktemp("tried") / "migrations") as world:
        fill(world)
        world.insert("notes", [{"_id": "a<script>alert(1)</script>", "text": "<IMG src=x onerror=alert(1)>"}])
        write(world.migrations, "0001", None, THREE)
        rehearser = rehearser_of(world)
        before = (everything_in(world), counters(world))
        rehearsal = rehearser.go()
        after = (everything_in(world), counters(world))
        key = f"rehearsals/{rehearsal.id}/report.html"
        page = world.s3.get_object(Bucket=world.vault, Key=key)["Body"].read().decode()
        yield Tried(
            world=world, rehearser=rehearser, rehearsal=rehearsal, before=before, after=after, page=page
        )


def test_a_plan_is_tried_up_down_and_up_again_on_copies_and_nothing_live_is_written(tried: Tried) -> None:
    world = tried.world

    assert tried.rehearsal.verdict is Verdict.GREEN, tried.rehearser.log.text
    assert tried.after == tried.before
    assert tried.rehearser.scratch_spaces() == []
    assert world.rows("SELECT count(*) FROM _migration_runs", world.ledger_uri) == [(0,)]
    assert world.rows("SELECT count(*) FROM _migrations", world.ledger_uri) == [(0,)]
    assert world.labels() == []


def test_the_report_has_all_that_was_seen(tried: Tried) -> None:
    world, rehearsal = tried.world, tried.rehearsal

    kept = world.s3.list_objects_v2(Bucket=world.vault, Prefix=f"rehearsals/{rehearsal.id}/")["Contents"]
    assert [one["Key"].rpartition("/")[2] for one in kept] == ["report.html", "report.json"]
    (one,) = tried.report["revisions"]
    up = one["upgrade"]
    by_step = {operation["step"]: operation for operation in up["operations"]}
    assert [by_step[step]["written"] for step in (2, 3, 4)] == [ROWS, NOTES + 1, FILES]
    assert by_step[2]["batches"]["count"] >= ROWS / 100
    assert sum(by_step[2]["batches"]["histogram"]["bars"]) == by_step[2]["batches"]["shown"]
    assert len(by_step[2]["shards"]) == 2
    assert all(operation["seconds"] > 0 for operation in up["operations"])
    assert all(one[way]["good"] for way in ("upgrade", "downgrade", "upgrade_again"))
    assert any(f"holds: {ROWS} record(s)" in line for line in up["verification"])
    assert any("as it was before" in line for line in one["downgrade"]["verification"])
    assert one["compared"] == 3
    assert one["predicted"]["low"] <= one["predicted"]["seconds"] <= one["predicted"]["high"]
    growth = one["growth"]["0_campus_auth"]
    assert growth["database"][1] > 0
    assert growth["wal"][1] > growth["wal"][0]
    assert growth["database"][1] >= growth["database"][0]
    assert one["growth"]["2_campus_objects"]["objects"][1] > one["growth"]["2_campus_objects"]["objects"][0]
    assert rehearsal.predicted["0001"].seconds == one["predicted"]["seconds"]


def test_ten_records_of_each_operation_are_shown_without_what_is_secret(tried: Tried) -> None:
    operations = tried.report["revisions"][0]["upgrade"]["operations"]
    rows, documents, objects = (operation["samples"] for operation in operations[1:])
    assert [len(shown) for shown in (rows, documents, objects)] == [10, 10, 10]
    assert rows[0]["key"] == "1"
    assert (rows[0]["before"]["n"], rows[0]["after"]["n"]) == ("1", "2")
    assert {"before": {"text": "note a"}, "after": {"text": "NOTE A"}} in [
        {"before": shown["before"], "after": shown["after"]} for shown in documents
    ]
    assert objects[0]["key"] == "uploads/000.txt"
    assert objects[0]["before"]["body"].startswith("6 byte(s)")
    assert "secret" not in json.dumps(tried.report)


def test_the_page_asks_nobody_for_anything_and_shows_what_a_record_holds_as_text(tried: Tried) -> None:
    page = tried.page
    assert "<script" not in page
    assert "<img" not in page.lower()
    assert "&lt;IMG SRC=X" in page
    assert "http" not in page
    assert "prefers-color-scheme: dark" in page
    assert page.count("<svg") >= 3


def test_no_record_is_shown_where_none_is_wanted(world: World, rehearser: Rehearser) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)

    rehearser.go(samples=0)

    operations = rehearser.report["revisions"][0]["upgrade"]["operations"]
    assert [operation["samples"] for operation in operations] == [[]]


def test_the_longest_lock_is_named_with_its_statement(world: World, rehearser: Rehearser) -> None:
    world.run(SETUP)
    body = """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN nick text", "SELECT pg_sleep(0.5)", touches=Users)

def downgrade():
    yield ops.sql(Db, "ALTER TABLE users DROP COLUMN nick", touches=Users)
"""
    write(world.migrations, "0001", None, body)

    rehearsal = rehearser.go()

    assert rehearsal.verdict is Verdict.GREEN, rehearser.log.text
    longest = rehearser.report["longest_lock"]
    assert (longest["mode"], longest["relation"]) == ("AccessExclusiveLock", "public.users")
    assert longest["keeps_out"] == "readers and writers"
    assert longest["seconds"] >= 0.3


WRONG = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])
    yield ops.transform_documents(Notes, shout)

def downgrade():
    yield ops.restore(Users)
    yield ops.transform_documents(Notes, whisper)

def more(row):
    return {**row, "n": row["n"] + 1}

def shout(note):
    return {**note, "text": note["text"].upper()}

def whisper(note):
    text = note["text"].lower()
    return {**note, "text": text.replace("note b", "note x") if note["_id"] == "n100" else text}
"""


def test_a_wrong_downgrade_is_red_and_names_the_operation_and_the_record(
    world: World, rehearser: Rehearser
) -> None:
    fill(world)
    write(world.migrations, "0001", None, WRONG)

    rehearsal = rehearser.go()

    assert rehearsal.verdict is Verdict.RED
    assert "downgrade of 0001 (step 2: transform_documents notes)" in rehearser.report["why"]
    (found,) = rehearser.report["revisions"][0]["differences"]
    assert found["resource"] == "collection notes (campus_documents)"
    assert "n100" in found["key"]
    assert (found["before"], found["after"]) == ({"text": "note b"}, {"text": "note x"})
    assert rehearser.scratch_spaces() == []
    page = world.s3.get_object(Bucket=world.vault, Key=f"rehearsals/{rehearsal.id}/report.html")[
        "Body"
    ].read()
    assert b"note x" in page
    assert b"step 2: transform_documents notes" in page


def test_what_a_downgrade_forgets_is_named(world: World, rehearser: Rehearser) -> None:
    fill(world)
    body = """
def upgrade():
    yield ops.sql(Db, "ALTER TABLE users ADD COLUMN nick text", "CREATE INDEX users_nick ON users (nick)",
                  touches=Users)

def downgrade():
    yield ops.sql(Db, "ALTER TABLE users ALTER COLUMN nick SET DEFAULT ''", touches=Users)
"""
    write(world.migrations, "0001", None, body)

    rehearsal = rehearser.go()

    assert rehearsal.verdict is Verdict.RED
    (found,) = rehearser.report["revisions"][0]["differences"]
    assert "index users_nick" in str(found["shape"])
    assert "downgrade of 0001 (step 1: sql users)" in rehearser.report["why"]


def test_an_upgrade_that_fails_is_red_and_says_whether_it_could_be_taken_back(
    world: World, rehearser: Rehearser
) -> None:
    fill(world)
    body = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])
    yield ops.transform_documents(Notes, bad)

def downgrade():
    yield ops.restore(Notes)
    yield ops.restore(Users)

def more(row):
    return {**row, "n": row["n"] + 1}

def bad(note):
    if note["_id"] == "n077":
        raise ValueError("no such note")
    return {**note, "text": ""}
"""
    write(world.migrations, "0001", None, body)

    rehearsal = rehearser.go()

    assert rehearsal.verdict is Verdict.RED
    why = rehearser.report["why"]
    assert "step 2: transform_documents notes" in why
    assert "n077" in why
    assert "no such note" in why
    assert rehearser.report["revisions"][0]["upgrade"]["undone"] is True
    assert rehearser.report["revisions"][0]["downgrade"] is None
    assert rehearsal.predicted == {}


def test_every_pending_revision_is_tried_in_order_and_only_those(
    world: World, rehearser: Rehearser, driver: Driver
) -> None:
    world.run(SETUP)
    for number, parent in (("0001", None), ("0002", "0001"), ("0003", "0002")):
        write(world.migrations, number, parent, ADD)
    assert driver.go("0001").status is RunStatus.APPLIED

    rehearsal = rehearser.go()

    assert rehearsal.verdict is Verdict.GREEN, rehearser.log.text
    assert list(rehearsal.revisions) == ["0002", "0003"]
    assert [one["id"] for one in rehearser.report["revisions"]] == ["0002", "0003"]
    assert world.rows("SELECT sum(n) FROM users") == [(ROWS * (ROWS + 1) // 2 + ROWS,)]
    with pytest.raises(Refused, match="nothing to rehearse"):
        rehearser.open("0001")


def test_a_named_backup_is_the_data_before_its_run(
    world: World, rehearser: Rehearser, driver: Driver
) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    run = driver.go("0001")
    world.run("DELETE FROM users")

    rehearsal = rehearser.go(source=run.id)

    assert rehearsal.verdict is Verdict.GREEN, rehearser.log.text
    (copied, *_) = rehearser.report["copies"]
    assert copied["records"]["users"] == ROWS
    write(
        world.migrations,
        "0002",
        "0001",
        "def upgrade():\n    yield ops.update_rows(Table(Api, 'traces'), {'n': '1'})\n"
        "def downgrade():\n    yield ops.restore(Table(Api, 'traces'))\n",
    )
    with pytest.raises(Refused, match="does not hold table traces"):
        rehearser.open(source=run.id)


def test_a_sample_keeps_what_its_rows_refer_to(world: World, rehearser: Rehearser) -> None:
    fill(world)
    body = THREE.replace(
        "yield ops.expect_count(Users, 500)", "yield ops.expect_none(Users, where='n IS NULL')"
    )
    write(world.migrations, "0001", None, body)

    rehearsal = rehearser.go(sample=20)

    assert rehearsal.verdict is Verdict.GREEN, rehearser.log.text
    by_kind = {copied["kind"]: copied for copied in rehearser.report["copies"]}
    rows, documents, objects = by_kind["table"], by_kind["document"], by_kind["object"]
    assert rows["records"] == {"teams": 20, "users": ROWS}
    assert 50 < rows["kept"]["users"] < 160
    assert rows["kept"]["teams"] > 15  # a fifth of them, and those that have members in the sample
    assert 5 < documents["kept"]["notes"] < 60
    assert objects["kept"]["uploads/"] < FILES
    assert "by a hash" in rows["sampled"]
    operations = rehearser.report["revisions"][0]["upgrade"]["operations"]
    assert operations[1]["read"] == rows["kept"]["users"]


def test_what_a_rehearsal_predicted_is_kept_beside_what_the_run_took(
    world: World, rehearser: Rehearser, driver: Driver
) -> None:
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    rehearsal = rehearser.go()

    run = driver.go("0001")

    assert run.status is RunStatus.APPLIED, driver.log.text
    (compared,) = rehearser.services.ledger.comparisons(run.id)
    assert compared.rehearsal_id == rehearsal.id
    assert compared.predicted == rehearsal.predicted["0001"]
    assert run.ended_at is not None
    assert compared.actual_seconds == pytest.approx((run.ended_at - run.started_at).total_seconds())
    assert "had predicted" in driver.log.text
