"""A live Airflow: a failed revision is settled by its backup, chosen and approved over REST, and migrate goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import boto3
import live_airflow
import pymongo
import pytest
from live_airflow import HERE, fill_users, new_project, until
from revisions import write
from whole_system import own_folder

from lockstep.embedded import Servers, running
from lockstep.embedded.airflow import Airflow, airflow_running
from lockstep.embedded.airflow_errors import AirflowRefusedError

DAG = "restore"
REVISION = "revision_0001_three"
ROWS = 300
LIMIT = 300.0
#: Its last step fails until there is a table `gate`, and its way back fails always.
THREE = """
from dataclasses import replace

def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})
    yield ops.transform_documents(Notes, more)
    yield ops.transform_objects(Uploads, louder)
    yield ops.run_python(pass_the_gate, touches=Users, reverse=fail)

def downgrade():
    yield ops.restore(Uploads)
    yield ops.restore(Notes)
    yield ops.restore(Users)

def more(document):
    return {**document, "n": document["n"] + 1}

def louder(item):
    return replace(item, body=item.body.upper())

def pass_the_gate(hands):
    if hands.open(Users).execute("SELECT to_regclass('gate')").fetchone() == (None,):
        raise ValueError("the gate is shut")

def fail(hands):
    raise ValueError("there is no way back")
"""
#: states in which a task has a worker, or is about to
AT_WORK = {"running", "queued", "scheduled", "restarting", "up_for_retry"}


@dataclass(frozen=True, kw_only=True)
class Live(live_airflow.Live):
    airflow: Airflow
    s3: Any

    def hashes(self) -> tuple[str, ...]:
        """Return the independent witness's hashes of all three stores."""
        import independent

        client = {
            "endpoint_url": self.servers.s3_endpoint,
            "region_name": self.servers.s3_region,
            "aws_access_key_id": self.servers.s3_access_key,
            "aws_secret_access_key": self.servers.s3_secret_key,
        }
        return (
            independent.hash_postgres(self.servers.postgres_uri("campus_auth"), ["users"]),
            independent.hash_mongo(self.servers.mongo_uri, "campus"),
            independent.hash_s3(client, "campus", "uploads/"),
        )

    def states(self, run_id: str) -> dict[str, str | None]:
        return {task.task_id: task.state for task in self.api.tasks(DAG, run_id)}

    def asks(self, run_id: str, task: str) -> dict[str, Any]:
        """Return the question, once a task waits for an answer and nothing of the run is at work."""
        until(lambda: self.states(run_id).get(task) == "awaiting_input", f"asking in {task}")
        assert not AT_WORK & set(filter(None, self.states(run_id).values()))
        return self.api.question(DAG, run_id, task)

    def end(self, dag_id: str, run_id: str) -> str:
        return self.api.wait(dag_id, run_id, seconds=LIMIT).state

    def status(self) -> str:
        return str(self.rows("SELECT status FROM _migrations WHERE id = '0001'", "campus_admin")[0][0])


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with own_folder() as folder, running(folder / "data") as servers:
        project = new_project(folder)
        write(project / "migrations", "0001", None, THREE, name="0001_three.py")
        with (
            closing(
                boto3.client(
                    "s3",
                    endpoint_url=servers.s3_endpoint,
                    region_name=servers.s3_region,
                    aws_access_key_id=servers.s3_access_key,
                    aws_secret_access_key=servers.s3_secret_key,
                )
            ) as s3,
            airflow_running(
                servers,
                dags=project / "dags",
                plugins=HERE / "plugins",
                migrations=project / "migrations",
                needed={REVISION, DAG},
            ) as airflow,
            closing(airflow.client("deploy")) as api,
        ):
            fill(servers, s3)
            yield Live(servers=servers, airflow=airflow, api=api, s3=s3)


def fill(servers: Servers, s3: Any) -> None:
    fill_users(servers, ROWS)
    with pymongo.MongoClient(servers.mongo_uri) as client:
        client["campus"]["notes"].insert_many([{"_id": i, "n": i} for i in range(100)])
    for i in range(20):
        s3.put_object(
            Bucket="campus",
            Key=f"uploads/{i:02}",
            Body=b"text",
            Metadata={"owner": "u"},
            Tagging="kind=essay",
        )


def test_a_failed_revision_is_settled_by_the_backup_that_a_person_chose_and_approved(live: Live) -> None:
    before = live.hashes()
    live.api.trigger(REVISION, "failed", {})
    assert live.end(REVISION, "failed") == "failed"
    assert live.status() == "failed"
    spoiled = live.hashes()
    assert spoiled != before
    ((backup,),) = live.rows("SELECT id FROM _migration_runs WHERE dag_run_id = 'failed'", "campus_admin")

    live.api.trigger(DAG, "first", {})
    question = live.asks("first", "choose")
    (option,) = question["options"]
    assert option.startswith(f"{backup} · before the upgrade of 0001, which ended failed")
    live.api.answer(DAG, "first", "choose", option)

    question = live.asks("first", "approve")
    assert question["options"] == ["Approve", "Reject"]
    assert "revision 0001: failed → rolled_back" in question["body"]
    assert f"users ({ROWS} records)" in question["body"]
    time.sleep(5)
    assert live.asks("first", "approve")["responded_at"] is None
    assert live.hashes() == spoiled
    with closing(live.airflow.client("viewer")) as viewer, pytest.raises(AirflowRefusedError, match="403"):
        viewer.answer(DAG, "first", "approve", "Approve")
    live.api.answer(DAG, "first", "approve", "Approve")

    assert live.end(DAG, "first") == "success"
    assert live.hashes() == before
    assert live.status() == "rolled_back"
    ((told, who),) = live.rows(
        "SELECT detail::text, who FROM _migration_history WHERE kind = 'restore_approved'", "campus_admin"
    )
    assert (json.loads(told)["chosen_by"], json.loads(told)["approved_by"], who) == ("deploy",) * 3


def test_the_next_migrate_needs_no_help(live: Live) -> None:
    live.rows("CREATE TABLE gate ()")
    live.api.trigger("migrate", "second", {})

    assert live.end("migrate", "second") == "success"
    assert live.status() == "applied"
    assert live.rows("SELECT count(*) FROM users WHERE n = id + 1") == [(ROWS,)]


def test_a_rejected_restore_is_red_and_changes_nothing(live: Live) -> None:
    before = live.hashes()
    backup = live.api.get("/lockstep/backups")["backups"][0]["run"]
    live.api.trigger(DAG, "rejected", {"backup": backup})
    live.asks("rejected", "approve")

    live.api.answer(DAG, "rejected", "approve", "Reject")

    assert live.end(DAG, "rejected") == "failed"
    states = live.states("rejected")
    assert (states["approve"], states["outcome"]) == ("failed", "failed")
    assert states["open_run"] == "upstream_failed"
    assert live.hashes() == before
    assert live.status() == "applied"
    ((who,),) = live.rows(
        "SELECT who FROM _migration_history WHERE kind = 'restore_rejected'", "campus_admin"
    )
    assert who == "deploy"


def test_the_page_of_backups_names_what_to_trigger(live: Live) -> None:
    found = live.api.get("/lockstep/backups")["backups"]

    first = found[0]
    assert (first["revision"], first["direction"], first["run_status"]) == ("0001", "upgrade", "applied")
    assert first["restore"] == {"dag_id": "restore", "conf": {"backup": first["run"]}}
    assert {one["direction"] for one in found} == {"upgrade", "restore"}
    assert {one["database"] for one in found} == {"campus_auth", "campus_documents", "campus_objects"}
    assert {one["proof"] for one in found} == {"restore"}
