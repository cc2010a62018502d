"""A live Airflow: the example rehearsed, a revision whose downgrade is wrong, and who hears of both."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import live_airflow
import psycopg
import pymongo
import pytest
from live_airflow import HERE, new_project
from whole_system import own_folder

from campus.shapes import Size
from lockstep.demo.data import fill_once, s3_client
from lockstep.embedded import running
from lockstep.embedded.airflow import Airflow, airflow_running

LIMIT = 900.0
SMALL = Size(users=40, sessions=30, submissions=60, uploads=8)
#: the chain up to here is rehearsed: all three stores, and a table that is made
TARGET = "0003"
WRONG = '''
"""Shout every name, and forget one on the way back."""

from lockstep import ops
from resources import Users

revision = "0004"
down_revision = "0003"


def upgrade():
    yield ops.transform_rows(Users, shout, columns=["name"])


def downgrade():
    yield ops.restore(Users)
    yield ops.sql(Users.database, "UPDATE users SET name = 'nobody' WHERE id = (SELECT min(id) FROM users)",
                  touches=Users)


def shout(user):
    return {**user, "name": user["name"].upper()}
'''


@dataclass
class GitHub:
    """A server that stands for GitHub and keeps what it was sent."""

    url: str = ""
    heard: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)


@contextmanager
def github_listening() -> Iterator[GitHub]:
    found = GitHub()

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.heard.append((self.path, body, dict(self.headers)))
            answer = json.dumps({"id": len(found.heard)}).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *given: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        found.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True, kw_only=True)
class Live(live_airflow.Live):
    airflow: Airflow
    github: GitHub

    def rehearse(self, run_id: str, **conf: Any) -> tuple[str, dict[str, Any]]:
        """Run the DAG to its end; return its state and the ledger's rehearsal."""
        self.api.trigger("rehearse", run_id, conf)
        state = self.api.wait("rehearse", run_id, seconds=LIMIT).state
        query = f"SELECT id, verdict, facts FROM _migration_rehearsals WHERE dag_run_id = '{run_id}'"
        ((rehearsal_id, verdict, facts),) = self.rows(query, "campus_admin")
        return state, {"id": rehearsal_id, "verdict": verdict, "facts": facts}

    def said(self, run_id: str) -> list[str]:
        """Return each task's state, and the last words of those that did not succeed."""
        lines = []
        for task in self.api.tasks("rehearse", run_id):
            lines.append(f"{task.task_id}: {task.state}, try {task.try_number}")
            if task.state not in ("success", "skipped", "upstream_failed"):
                log = self.api.log("rehearse", run_id, task)
                lines += [str(entry.get("event", ""))[:2000] for entry in log[-12:]]
        return lines

    def written(self) -> list[Any]:
        """Return PostgreSQL's counts of rows written in the live databases."""
        names = ("campus_auth", "campus_api")
        for name in names:
            self.rows("SELECT pg_stat_force_next_flush()", name)
        return [
            self.rows(
                "SELECT tup_inserted, tup_updated, tup_deleted FROM pg_stat_database "
                "WHERE datname = current_database()",
                name,
            )
            for name in names
        ]

    def scratch_spaces(self) -> list[str]:
        found = [
            name
            for (name,) in self.rows(
                "SELECT datname FROM pg_database WHERE datname LIKE 'lockstep_scratch_%'", "postgres"
            )
        ]
        with pymongo.MongoClient(self.servers.mongo_uri) as client:
            found += [name for name in client.list_database_names() if name.startswith("lockstep_scratch_")]
        with s3_client(self.servers) as client:
            listed = client.list_objects_v2(Bucket="campus", Prefix="_lockstep/")
        return found + [one["Key"] for one in listed.get("Contents", [])]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with own_folder() as folder, running(folder / "data") as servers, github_listening() as github:
        project = new_project(folder)
        for path in sorted((HERE / "migrations").glob("000[123]_*.py")):
            shutil.copy(path, project / "migrations")
        (project / "migrations" / "0004_shout.py").write_text(WRONG.lstrip())
        fill_once(servers, SMALL)
        with psycopg.connect(servers.postgres_uri("campus_auth"), autocommit=True) as conn:
            conn.execute("ALTER TABLE users SET (autovacuum_enabled = off)")
            conn.execute("ALTER TABLE sessions SET (autovacuum_enabled = off)")
        with (
            airflow_running(
                servers,
                dags=project / "dags",
                plugins=HERE / "plugins",
                migrations=project / "migrations",
                needed={"rehearse"},
            ) as airflow,
            closing(airflow.client("deploy")) as api,
            closing(airflow.client("admin")) as admin,
        ):
            admin.post(
                "/api/v2/connections",
                {
                    "connection_id": "lockstep_github",
                    "conn_type": "http",
                    "host": github.url,
                    "password": "not-a-real-token",
                    "extra": json.dumps({"repository": "school/campus"}),
                },
            )
            yield Live(servers=servers, airflow=airflow, api=api, github=github)


def test_the_example_is_green_and_leaves_nothing_behind(live: Live) -> None:
    written = live.written()

    state, rehearsal = live.rehearse("green", target=TARGET, commit="c0ffee")

    assert (state, rehearsal["verdict"]) == ("success", "green"), live.said("green")
    assert live.written() == written
    assert live.scratch_spaces() == []
    report = live.api.get(f"/lockstep/rehearsals/{rehearsal['id']}")
    assert [one["id"] for one in report["revisions"]] == ["0001", "0002", "0003"]
    assert all(one["upgrade_again"]["good"] and one["predicted"] for one in report["revisions"])
    # Whether a lock of the one table, or of an index of it, is held long enough to be seen is the machine's.
    lock = report["longest_lock"]
    assert lock is None or lock["relation"].startswith("public.assignments")
    tasks = live.api.tasks("rehearse", "green")
    assert {task.state for task in tasks} == {"success"}
    assert sum(task.task_id == "back_up" for task in tasks) >= 2
    sent = [(path, body["state"]) for path, body, _ in live.github.heard]
    assert sent == [
        ("/repos/school/campus/statuses/c0ffee", "pending"),
        ("/repos/school/campus/statuses/c0ffee", "success"),
    ]
    assert {headers["Authorization"] for _, _, headers in live.github.heard} == {"Bearer not-a-real-token"}
    assert live.github.heard[1][1]["target_url"].endswith(f"/lockstep/rehearsals/{rehearsal['id']}")


def test_a_wrong_downgrade_is_red_and_names_operation_and_record(live: Live) -> None:
    live.github.heard.clear()

    state, rehearsal = live.rehearse("red", target="head", commit="badcafe")

    assert (state, rehearsal["verdict"]) == ("failed", "red"), live.said("red")
    why = rehearsal["facts"]["why"]
    assert "downgrade of 0004 (step 1: restore users, step 2: sql users)" in why
    assert '{"name": "nobody"} after' in why
    report = live.api.get(f"/lockstep/rehearsals/{rehearsal['id']}")
    (found,) = report["revisions"][-1]["differences"]
    assert found["key"] == str(live.rows("SELECT min(id) FROM users", "campus_auth")[0][0])
    assert found["after"] == {"name": "nobody"}
    assert live.scratch_spaces() == []
    assert [body["state"] for _, body, _ in live.github.heard] == ["pending", "failure"]


def test_a_try_that_is_killed_is_tried_again_on_fresh_copies(live: Live) -> None:
    import psutil

    live.api.trigger("rehearse", "killed", {"target": TARGET})
    killed = False
    while not killed:
        for process in psutil.process_iter(["cmdline", "pid"]):
            line = " ".join(process.info["cmdline"] or ())
            # The process that does its shards is there: its parent is the task in the middle of the plan.
            if "lockstep.orchestration.shards_apart" in line and str(live.servers.root) in _roots(process):
                parent = process.parent()
                if parent is not None:
                    parent.kill()
                    killed = True
                    break
        assert killed or not live.api.run("rehearse", "killed").over

    assert live.api.wait("rehearse", "killed", seconds=LIMIT).state == "success", live.said("killed")
    (tried,) = [task for task in live.api.tasks("rehearse", "killed") if task.task_id == "try_out"]
    assert tried.try_number == 2
    assert live.scratch_spaces() == []


def _roots(process: Any) -> str:
    """Return the environment's word on where the process's Airflow lives."""
    import psutil

    try:
        return str(process.environ().get("AIRFLOW_HOME", ""))
    except psutil.Error:
        return ""
