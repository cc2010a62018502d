"""A live Airflow and revisions made for the occasion: kill -9, faults in files, wrong servers, cleared tasks.

LOCKSTEP_KILL_SCALE=1 runs at the size that the promises are made for: 200,000 rows, 50,000 documents and
1,000 objects. Less, the default, keeps every mechanism and takes less time.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import live_airflow
import psycopg
import pymongo
import pytest
from live_airflow import HERE, fill_users
from revisions import write
from whole_system import own_folder

from lockstep.embedded import Servers, running
from lockstep.embedded.airflow import airflow_running
from lockstep.embedded.airflow_api import DagRun

SCALE = float(os.environ.get("LOCKSTEP_KILL_SCALE", "0.2"))
ROWS, DOCUMENTS, OBJECTS = int(200_000 * SCALE), int(50_000 * SCALE), int(1_000 * SCALE)
LIMIT = 600.0

ROWS_UP = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])

def downgrade():
    yield ops.restore(Users)

def more(row):
    return {**row, "n": row["n"] + 1}
"""
DOCUMENTS_UP = """
def upgrade():
    yield ops.transform_documents(Notes, more)

def downgrade():
    yield ops.restore(Notes)

def more(document):
    document["n"] += 1
    return document
"""
OBJECTS_UP = """
from dataclasses import replace

def upgrade():
    yield ops.transform_objects(Uploads, more)

def downgrade():
    yield ops.restore(Uploads)

def more(item):
    return replace(item, body=str(int(item.body) + 1).encode())
"""
UNDOABLE = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})
    yield ops.run_python(boom, touches=Users, reverse=unboom)

def downgrade():
    yield ops.restore(Users)

def boom(hands):
    raise ValueError("boom")

def unboom(hands):
    if hands.open(Users).execute("SELECT to_regclass('public.mended')").fetchone() == (None,):
        raise ValueError("not mended")
"""


@dataclass(frozen=True, kw_only=True)
class Live(live_airflow.Live):
    s3: Any
    migrations: Path

    def execute(self, statement: str, database: str = "campus_auth") -> None:
        with psycopg.connect(self.servers.postgres_uri(database), autocommit=True) as conn:
            conn.execute(statement.encode())

    def ledger(self, query: str) -> list[Any]:
        return self.rows(query, "campus_admin")

    def number(self, i: int) -> int:
        """Return what an object holds."""
        return int(self.s3.get_object(Bucket="campus", Key=f"uploads/{i:04}")["Body"].read())

    def trigger(self, dag_id: str, run_id: str, **conf: Any) -> DagRun:
        return self.api.trigger(dag_id, run_id, conf)

    def end_of(self, dag_id: str, run_id: str) -> DagRun:
        return self.api.wait(dag_id, run_id, seconds=LIMIT)

    def words(self, dag_id: str, run_id: str) -> str:
        """Return what the failed tasks of a run logged."""
        api = self.api
        failed = [task for task in api.tasks(dag_id, run_id) if task.state == "failed"]
        return "\n".join(
            str(entry.get("event")) for task in failed for entry in api.log(dag_id, run_id, task)
        )

    def wait_for_dag(self, dag_id: str) -> None:
        limit = time.monotonic() + LIMIT
        while dag_id not in self.api.dags():
            assert time.monotonic() < limit, f"{dag_id} did not come"
            time.sleep(1)

    def holders(self, revision: str) -> list[Any]:
        """Return who works on the revision, once some batches are written; the ledger makes its own tables."""
        if self.ledger("SELECT to_regclass('_migration_shards')") == [(None,)]:
            return []
        return self.ledger(
            "SELECT s.holder FROM _migration_shards s JOIN _migration_runs r ON r.id = s.run_id "
            f"WHERE r.revision = '{revision}' AND s.state = 'running' AND s.batches >= 2"
        )

    def kill_a_working_shard(self, revision: str) -> None:
        """Kill -9 the process that has written some batches of the revision's shard and not all."""
        limit = time.monotonic() + LIMIT
        while True:
            if found := self.holders(revision):
                os.kill(int(found[0][0].rsplit(":", 1)[1]), signal.SIGKILL)
                return
            assert time.monotonic() < limit, "no shard was seen at work"
            time.sleep(0.02)

    def attempts(self, dag_id: str, run_id: str) -> int:
        return max(
            task.try_number for task in self.api.tasks(dag_id, run_id) if task.task_id.endswith(".shard")
        )


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with own_folder() as folder, running(folder / "data") as servers:
        migrations = folder / "migrations"
        migrations.mkdir()
        write(migrations, "0001", None, ROWS_UP, name="0001_rows.py")
        write(migrations, "0002", "0001", DOCUMENTS_UP, name="0002_documents.py")
        write(migrations, "0003", "0002", OBJECTS_UP, name="0003_objects.py")
        fill(servers)
        dags = {
            "migrate",
            "rollback",
            "revision_0001_rows",
            "revision_0002_documents",
            "revision_0003_objects",
        }
        with (
            airflow_running(
                servers, dags=HERE / "dags", plugins=HERE / "plugins", migrations=migrations, needed=dags
            ) as airflow,
            closing(airflow.client("admin")) as api,
            closing(s3_of(servers)) as s3,
        ):
            yield Live(servers=servers, api=api, s3=s3, migrations=migrations)


def fill(servers: Servers) -> None:
    fill_users(servers, ROWS)
    with pymongo.MongoClient(servers.mongo_uri) as client:
        client["campus"]["notes"].insert_many([{"_id": f"n{i:06}", "n": i} for i in range(DOCUMENTS)])
    with closing(s3_of(servers)) as s3:
        for i in range(OBJECTS):
            s3.put_object(Bucket="campus", Key=f"uploads/{i:04}", Body=str(i).encode())


def s3_of(servers: Servers) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=servers.s3_endpoint,
        region_name=servers.s3_region,
        aws_access_key_id=servers.s3_access_key,
        aws_secret_access_key=servers.s3_secret_key,
    )


def test_a_killed_shard_leaves_every_row_incremented_once(live: Live) -> None:
    live.trigger("revision_0001_rows", "killed", shards=1, batch_rows=1000)
    live.kill_a_working_shard("0001")
    assert live.end_of("revision_0001_rows", "killed").state == "success"
    assert live.attempts("revision_0001_rows", "killed") > 1
    assert live.rows("SELECT count(*), count(*) FILTER (WHERE n = id + 1) FROM users") == [(ROWS, ROWS)]


def test_a_killed_shard_leaves_every_document_incremented_once(live: Live) -> None:
    live.trigger("revision_0002_documents", "killed", shards=1, batch_documents=500)
    live.kill_a_working_shard("0002")
    assert live.end_of("revision_0002_documents", "killed").state == "success"
    assert live.attempts("revision_0002_documents", "killed") > 1
    with pymongo.MongoClient(live.servers.mongo_uri) as client:
        found = {doc["_id"]: doc["n"] for doc in client["campus"]["notes"].find()}
    assert found == {f"n{i:06}": i + 1 for i in range(DOCUMENTS)}


def test_a_killed_shard_leaves_every_object_incremented_once(live: Live) -> None:
    live.trigger("revision_0003_objects", "killed", shards=1, batch_objects=20)
    live.kill_a_working_shard("0003")
    assert live.end_of("revision_0003_objects", "killed").state == "success"
    assert live.attempts("revision_0003_objects", "killed") > 1
    assert [live.number(i) for i in range(OBJECTS)] == [i + 1 for i in range(OBJECTS)]


def test_a_faulty_file_is_an_import_error_and_the_other_dags_stay_and_run(live: Live) -> None:
    path = write(live.migrations, "0004", "0003", "from resources import Userz\n", name="0004_typo.py")
    limit = time.monotonic() + LIMIT
    while not (problems := live.api.import_errors()):
        assert time.monotonic() < limit, "no import error came"
        time.sleep(1)
    told = problems[0].text
    assert "migrations/0004_typo.py" in told
    assert "revision '0004'" in told
    assert "write 'Users', which resources.py declares" in told
    live.trigger("revision_0003_objects", "beside-a-fault")
    assert live.end_of("revision_0003_objects", "beside-a-fault").state == "success"
    live.trigger("migrate", "to-an-uncertain-head")
    assert live.end_of("migrate", "to-an-uncertain-head").state == "failed"
    assert "0004_typo.py" in live.words("migrate", "to-an-uncertain-head")
    path.unlink()
    while live.api.import_errors():
        assert time.monotonic() < limit, "the import error did not go"
        time.sleep(1)


def test_a_failed_undo_blocks_later_runs_until_a_person_resumes_it(live: Live) -> None:
    write(live.migrations, "0004", "0003", UNDOABLE, name="0004_undoable.py")
    dag = "revision_0004_undoable"
    live.wait_for_dag(dag)
    live.trigger(dag, "first")
    assert live.end_of(dag, "first").state == "failed"
    assert live.ledger("SELECT status FROM _migrations WHERE id = '0004'") == [("failed",)]
    said = live.words(dag, "first")
    assert "boom" in said
    assert "trigger the DAG restore with backup" in said
    assert "manifest.json" in said
    live.trigger("rollback", "blocked", target="0002")
    assert live.end_of("rollback", "blocked").state == "failed"
    assert "blocks every later run" in live.words("rollback", "blocked")
    live.execute("CREATE TABLE mended ()")
    live.trigger(dag, "resumed", resume=True)
    assert live.end_of(dag, "resumed").state == "failed"
    assert live.ledger("SELECT status FROM _migrations WHERE id = '0004'") == [("rolled_back",)]
    assert live.rows("SELECT count(*) FILTER (WHERE n = id + 1) FROM users") == [(ROWS,)]


def test_ten_triggers_at_once_run_once_and_the_others_end_in_a_named_state(live: Live) -> None:
    dag = "revision_0003_objects"
    names = [f"at-once-{i}" for i in range(10)]
    for name in names:
        live.trigger(dag, name, direction="downgrade")
    ended = {name: live.end_of(dag, name).state for name in names}
    assert set(ended.values()) <= {"success", "failed"}
    assert live.ledger("SELECT count(*) FROM _migration_runs WHERE status = 'downgraded'") == [(1,)]
    for name in (name for name, state in ended.items() if state == "failed"):
        assert "holds the chain" in live.words(dag, name)
    assert live.number(7) == 7
