"""The history tells the whole story, from the ledger or the archive alone, and whoever alters either is found out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from driver import Crash, Driver, PlainLog
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from revisions import write
from three_stores import Failing
from world import World, factory_of

from lockstep.domain.errors import DataError
from lockstep.domain.history import FIELDS, dumps, seal
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.auditing.archiving import archive_history
from lockstep.engine.auditing.verifying import Audit, Finding, verify
from lockstep.engine.housekeeping.audited import audit_history
from lockstep.engine.services import Services

SETUP = """CREATE TABLE users (id text PRIMARY KEY, n int);
INSERT INTO users SELECT i::text, i FROM generate_series(1, 250) i"""
ADD = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})

def downgrade():
    yield ops.restore(Users)
"""
#: kinds, and statuses led to, of a run that fails and is undone
STORY = [
    "opened",
    "upgrading",
    "backups_proven",
    "task_failed",
    "rolling_back",
    "way_back_verified",
    "rolled_back",
    "ended",
]


@pytest.fixture
def driver(world: World) -> Driver:
    log = PlainLog()
    return Driver(services=factory_of(world, log), migrations=world.migrations, log=log, shards=1)


@pytest.fixture
def failed(world: World, driver: Driver) -> Run:
    """Let a run fail in its second batch and be undone."""
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    with ledger_of(driver).ledger.unit() as unit:
        unit.note(None, "approved", {"reason": "looks fine: https://ann:s3cret@example.org"}, who="ann")
    driver.bomb = Failing("batch written", 2)
    run = driver.go("0001", shards=1)
    driver.bomb = lambda place: None
    assert run.status is RunStatus.ROLLED_BACK, driver.log.text
    return run


def ledger_of(driver: Driver) -> Services:
    services = driver.services(driver.bomb)
    services.ledger.check()
    return services


def audited(driver: Driver) -> Audit:
    services = ledger_of(driver)
    return verify(services.ledger, services.vault)


def the_finding(driver: Driver, place: str) -> Finding:
    found = [one for one in audited(driver).findings if one.place == place]
    assert found, "nothing was found"
    return found[0]


@contextmanager
def tampering(world: World) -> Iterator[psycopg.Connection[dict[str, Any]]]:
    """Do what only a superuser or the tables' owner can: take the triggers away first."""
    with psycopg.connect(world.ledger_uri, autocommit=True, row_factory=dict_row) as db:
        for table in ("_migration_history", "_migration_chain", "_migration_segments"):
            db.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL".encode())
        yield db


def archived(world: World) -> list[str]:
    listed = world.s3.list_objects_v2(Bucket=world.vault, Prefix="history/")
    return [one["Key"] for one in listed.get("Contents", [])]


def lines(world: World, key: str) -> list[str]:
    body: bytes = world.s3.get_object(Bucket=world.vault, Key=key)["Body"].read()
    return body.decode().splitlines()


def rewrite(world: World, key: str, text: list[str]) -> None:
    world.s3.put_object(Bucket=world.vault, Key=key, Body="".join(f"{line}\n" for line in text).encode())


def lockstep(world: World, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command with environment variables alone, and with no way to import Airflow."""
    script = (
        "import sys; sys.modules['airflow'] = None; from lockstep.cli import main; "
        f"code = main({list(arguments)!r}); sys.exit(code)"
    )
    keys = world.s3_kwargs
    env = {
        "PATH": os.environ["PATH"],
        "LOCKSTEP_LEDGER_URI": world.ledger_uri,
        "LOCKSTEP_VAULT_BUCKET": world.vault,
        "LOCKSTEP_VAULT_ENDPOINT": keys["endpoint_url"],
        "AWS_ACCESS_KEY_ID": keys["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": keys["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": keys["region_name"],
        "PYTHONIOENCODING": "utf-8",
        **more,
    }
    given = {name: value for name, value in env.items() if value}
    return subprocess.run(
        [sys.executable, "-c", script],
        env=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=world.migrations,
    )


def test_the_whole_story_of_a_failed_and_undone_run_is_told_without_airflow(
    world: World, driver: Driver, failed: Run
) -> None:
    told = [
        lockstep(world, "audit", "show", "--run", failed.id, "--json", *place)
        for place in ((), ("--archive",))
    ]
    assert [(one.returncode, one.stderr) for one in told] == [(0, "")] * 2
    assert told[0].stdout == told[1].stdout
    entries = [json.loads(line) for line in told[0].stdout.splitlines()]
    assert [entry["to_status"] or entry["kind"] for entry in entries] == STORY
    for entry in entries:
        detail = entry["detail"]
        assert entry["who"] == "olga"
        assert {"lockstep", "python", "ledger"} <= set(detail["versions"])
        assert detail["host"]
        assert (detail["checksum"], detail["direction"]) == (failed.checksum, "upgrade")
        assert detail["dag_run"] == f"{failed.caller.dag_id} / {failed.caller.dag_run_id}"
    opened, upgrading, _, problem, rolling_back, _, rolled_back, ended = (
        entry["detail"] for entry in entries
    )
    assert opened["params"] == upgrading["params"] == {"shards": 1}
    assert problem["where"] == "upgrade step 1 shard 0"
    assert "made to fail at batch written number 2" in problem["error"]
    assert "Traceback (most recent call last)" in problem["traceback"]
    assert rolling_back["error"] == rolled_back["error"]
    assert (ended["status"], ended["error"]) == ("rolled_back", failed.error)
    assert [(one["phase"], one["written"] > 0) for one in ended["operations"]] == [
        ("upgrade", True),
        ("undo", True),
    ]
    full = lockstep(world, "audit", "show", "--full", "--archive", "--kind", "task_failed").stdout
    assert "traceback:\n        Traceback (most recent call last)" in full
    table = lockstep(world, "audit", "show", "--who", "ann").stdout
    assert "approved" in table
    assert "s3cret" not in table + told[0].stdout + full + "".join(lines(world, archived(world)[0]))
    assert "opened" not in table
    assert (
        lockstep(world, "audit", "show", "--json", "--last", "1").stdout
        == told[0].stdout.splitlines()[-1] + "\n"
    )
    assert lockstep(world, "audit", "show", "--json", "--until", "2020-01-01").stdout == ""


def test_what_holds_is_said_to_hold_and_what_cannot_be_read_is_said_so(world: World, failed: Run) -> None:
    for more in ((), ("--archive",), ("--ledger",)):
        done = lockstep(world, "audit", "verify", *more)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
    away = lockstep(world, "audit", "verify", LOCKSTEP_LEDGER_URI="postgresql://me:hidden@127.0.0.1:1/x")
    assert away.returncode == 2
    assert "127.0.0.1:1/x" in away.stderr
    assert "hidden" not in away.stderr + away.stdout
    nowhere = lockstep(world, "audit", "verify", LOCKSTEP_VAULT_BUCKET="")
    assert nowhere.returncode == 2
    assert "AIRFLOW_CONN_LOCKSTEP_VAULT" in nowhere.stderr


def test_connections_are_taken_from_where_airflow_takes_them(world: World, failed: Run) -> None:
    at = psycopg.conninfo.conninfo_to_dict(world.ledger_uri)
    ledger = {"conn_type": "postgres", "host": at["host"], "port": at["port"], "schema": at["dbname"]}
    login = {"login": at["user"], "password": at.get("password")}
    keys = world.s3_kwargs
    extra = {
        "region_name": keys["region_name"],
        "endpoint_url": keys["endpoint_url"],
        "service_config": {"s3": {"bucket_name": world.vault}},
    }
    vault = {
        "conn_type": "aws",
        "login": keys["aws_access_key_id"],
        "password": keys["aws_secret_access_key"],
    }
    done = lockstep(
        world,
        "audit",
        "verify",
        LOCKSTEP_LEDGER_URI="",
        LOCKSTEP_VAULT_BUCKET="",
        AWS_ACCESS_KEY_ID="",
        AIRFLOW_CONN_LOCKSTEP_LEDGER=json.dumps({**ledger, **login}),
        AIRFLOW_CONN_LOCKSTEP_VAULT=json.dumps({**vault, "extra": json.dumps(extra)}),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_field_of_an_entry_that_is_altered_is_named(world: World, driver: Driver, failed: Run) -> None:
    others: dict[str, Any] = {
        "at": "2001-01-01T00:00:00+00:00",
        "detail": Jsonb({"where": "elsewhere"}),
        "prev_hash": "0" * 64,
        "hash": "0" * 64,
    }
    assert audited(driver).holds
    with tampering(world) as db:
        row = db.execute("SELECT * FROM _migration_history WHERE id = 3").fetchone()
        assert row is not None
        for name in FIELDS:
            if name == "id":
                continue  # an id that changes is an entry that is missing
            was = Jsonb(row[name]) if name == "detail" else row[name]
            db.execute(f"UPDATE _migration_history SET {name} = %s WHERE id = 3", [others.get(name, "other")])
            found = the_finding(driver, "ledger")
            assert (found.id, found.where) == (3, "row 3 of _migration_history"), name
            assert found.fields[0].partition(".")[0] == name
            db.execute(f"UPDATE _migration_history SET {name} = %s WHERE id = 3", [was])
        assert audited(driver).holds
        db.execute("UPDATE _migration_history SET who = 'nobody' WHERE id = 3")
    (problem,) = [one for one in audit_history(ledger_of(driver)).problems if "ledger: entry 3" in one]
    assert "row 3 of _migration_history (who)" in problem
    done = lockstep(world, "audit", "verify")
    assert done.returncode == 1
    assert "row 3 of _migration_history (who)" in done.stdout
    assert "who is 'nobody' in the ledger, and 'olga' in the archive" in done.stdout


def test_rows_that_are_gone_and_a_chain_that_was_sealed_anew_are_named(
    world: World, driver: Driver, failed: Run
) -> None:
    with tampering(world) as db:
        rows = db.execute("SELECT * FROM _migration_history ORDER BY id").fetchall()
        end = db.execute("SELECT last_id, last_hash FROM _migration_chain").fetchone()
        assert end is not None
        db.execute("DELETE FROM _migration_history WHERE id = 5")
        assert (the_finding(driver, "ledger").id, the_finding(driver, "ledger and archive").id) == (5, 5)
        put_back(db, rows[4])
        # The tail, and the chain's end with it: the ledger alone would hold.
        last = rows[-2]
        db.execute("DELETE FROM _migration_history WHERE id = %s", [rows[-1]["id"]])
        db.execute("UPDATE _migration_chain SET last_id = %s, last_hash = %s", [last["id"], last["hash"]])
        assert ledger_of(driver).ledger.broken_link() is None
        found = the_finding(driver, "ledger and archive")
        assert (found.id, found.fields) == (rows[-1]["id"], ("id",))
        put_back(db, rows[-1])
        # From the fourth entry on, every hash made anew: the ledger alone would hold.
        before = rows[2]["hash"]
        for row in rows[3:]:
            entry = {**row, "who": "nobody" if row["id"] == 4 else row["who"], "prev_hash": before}
            plain = {**entry, "at": entry["at"].astimezone(timezone.utc).isoformat()}
            before = seal(plain)
            db.execute(
                "UPDATE _migration_history SET who = %s, prev_hash = %s, hash = %s WHERE id = %s",
                [entry["who"], entry["prev_hash"], before, row["id"]],
            )
        db.execute("UPDATE _migration_chain SET last_id = %s, last_hash = %s", [end["last_id"], before])
    assert ledger_of(driver).ledger.broken_link() is None
    found = the_finding(driver, "ledger and archive")
    assert found.id == 4
    assert found.fields[0] == "who"


def put_back(db: psycopg.Connection[dict[str, Any]], row: dict[str, Any]) -> None:
    names = ", ".join(row)
    values = [Jsonb(value) if name == "detail" else value for name, value in row.items()]
    db.execute(f"INSERT INTO _migration_history ({names}) VALUES ({', '.join(['%s'] * len(row))})", values)


def test_whatever_is_done_to_the_archive_is_named_by_object_and_line(
    world: World, driver: Driver, failed: Run
) -> None:
    (key,) = archived(world)
    written = lines(world, key)
    third = json.loads(written[2])

    rewrite(world, key, [*written[:2], dumps({**third, "who": "nobody"}), *written[3:]])
    found = the_finding(driver, "archive")
    assert (found.id, found.where, found.fields) == (3, f"{key}, line 3", ("who",))
    alone = lockstep(world, "audit", "verify", "--archive")
    assert alone.returncode == 1
    assert f"entry 3, {key}, line 3" in alone.stdout

    rewrite(world, key, [*written[:2], written[3], written[2], *written[4:]])
    found = the_finding(driver, "archive")
    assert (found.id, found.where) == (3, f"{key}, line 3")

    rewrite(world, key, [*written[:2], *written[3:]])
    assert (the_finding(driver, "archive").id, the_finding(driver, "archive").where) == (3, f"{key}, line 3")

    rewrite(world, key, [*written[:2], "nonsense", *written[3:]])
    assert the_finding(driver, "archive").problem == "it is no JSON"

    rewrite(world, key, [*written[:-1], dumps({"format": 1, "head": {"id": 1, "hash": "0"}})])
    assert "last line" in the_finding(driver, "archive").problem

    world.s3.delete_object(Bucket=world.vault, Key=key)
    found = the_finding(driver, "archive")
    assert (found.id, found.where) == (1, key)

    rewrite(world, key, written)
    assert audited(driver).holds


def test_the_archive_goes_on_where_it_ended_and_has_what_belongs_to_no_run(
    world: World, driver: Driver, failed: Run
) -> None:
    services = ledger_of(driver)
    with services.ledger.unit() as unit:
        unit.note(None, "rejected", {"reason": "not today"}, who="ann")
    assert driver.go("0001").status is RunStatus.APPLIED, driver.log.text
    first, second = (lines(world, key) for key in archived(world))
    assert json.loads(second[0])["kind"] == "rejected"
    assert json.loads(second[0])["prev_hash"] == json.loads(first[-1])["head"]["hash"]
    assert json.loads(second[-2])["hash"] == json.loads(second[-1])["head"]["hash"]
    ids = [json.loads(line)["id"] for line in (*first[:-1], *second[:-1])]
    assert ids == list(range(1, services.ledger.history_head().id + 1))
    assert audited(driver).holds
    world.s3.delete_object(Bucket=world.vault, Key=archived(world)[0])
    alone = lockstep(world, "audit", "verify", "--archive")
    assert (alone.returncode, "entry 1 is missing" in alone.stdout) == (1, True), alone.stdout


def test_a_crash_on_the_way_into_the_archive_is_healed_and_nothing_is_written_over(
    world: World, driver: Driver, failed: Run
) -> None:
    services = ledger_of(driver)

    def note() -> None:
        with services.ledger.unit() as unit:
            unit.note(None, "approved", {}, who="ann")

    def crash(place: str) -> None:
        if place == "history archived":
            raise Crash(place)

    note()
    with pytest.raises(Crash):
        archive_history(replace(services, reached=crash))
    note()
    assert archive_history(services) == 2
    assert archive_history(services) == 0
    assert len(archived(world)) == 3
    assert audited(driver).holds

    with ThreadPoolExecutor(3) as pool:
        for _ in range(4):
            note()
            list(pool.map(archive_history, [services] * 3))
    assert audited(driver).holds
    assert audited(driver).archived == services.ledger.history_head()

    note()
    with pytest.raises(Crash):
        archive_history(replace(services, reached=crash))
    key = max(archived(world))
    rewrite(world, key, ["forged"])
    with pytest.raises(DataError, match="never written over"):
        archive_history(services)
    assert lines(world, key) == ["forged"]


def test_an_object_is_put_where_there_is_none_and_nowhere_else(world: World, driver: Driver) -> None:
    vault = driver.services(driver.bomb).vault
    assert vault.put_new("once", b"first")
    assert not vault.put_new("once", b"second")
    assert vault.get("once") == b"first"


PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"


def test_the_page_on_audits_verifies_by_hand(
    world: World, driver: Driver, failed: Run, tmp_path: Path
) -> None:
    program = PAGE.read_text(encoding="utf-8").split("```python\n", 1)[1].split("```", 1)[0]
    assert len([line for line in program.splitlines() if line.strip()]) <= 20
    for key in archived(world):
        (tmp_path / Path(key).name).write_text(
            "".join(f"{line}\n" for line in lines(world, key)), encoding="utf-8"
        )

    def by_hand() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    held = by_hand()
    head = ledger_of(driver).ledger.history_head()
    assert (held.returncode, held.stderr) == (0, "")
    assert f"{head.id} entries" in held.stdout
    assert head.hash in held.stdout
    (file,) = tmp_path.glob("*.jsonl")
    file.write_text(
        file.read_text(encoding="utf-8").replace('"who":"olga"', '"who":"nobody"', 1), encoding="utf-8"
    )
    assert by_hand().returncode != 0
