"""A live Airflow: a run that a person pauses, and one that the project's own signal holds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import live_airflow
import pytest
from live_airflow import HERE, fill_users, new_project, until
from revisions import write
from whole_system import own_folder

from lockstep.embedded import running
from lockstep.embedded.airflow import Airflow, airflow_running
from lockstep.embedded.airflow_api import TaskInstance
from lockstep.embedded.airflow_errors import AirflowRefusedError

ROWS = 4_000
LIMIT = 300.0
#: Small batches of a slow function: a run takes long enough to be stopped half-way.
CONF = {"shards": 2, "batch_rows": 100, "batch_seconds": 0.1}
SLOWLY = """
import time

def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])

def downgrade():
    yield ops.restore(Users)

def more(row):
    time.sleep(0.002)
    return {**row, "n": row["n"] + 1}
"""
SIGNALS = """
from pathlib import Path

def a_person_said_stop():
    return ("stop", "the flag is up") if Path(FLAG).exists() else None
"""


@dataclass(frozen=True, kw_only=True)
class Live(live_airflow.Live):
    airflow: Airflow
    #: while it exists, the project's signal says stop
    flag: Path

    def changed(self, by: int) -> int:
        """Return how many rows were incremented so often."""
        return int(self.rows(f"SELECT count(*) FROM users WHERE n = id + {by}")[0][0])

    def run_of(self, dag_run_id: str) -> str | None:
        """Return the ledger's run of a DAG run; the ledger makes its own tables."""
        if self.rows("SELECT to_regclass('_migration_runs')", "campus_admin") == [(None,)]:
            return None
        found = self.rows(f"SELECT id FROM _migration_runs WHERE dag_run_id = '{dag_run_id}'", "campus_admin")
        return str(found[0][0]) if found else None

    def shards(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        tasks = self.api.tasks(dag_id, run_id)
        return [task for task in tasks if task.task_id.startswith("upgrade.") and task.map_index >= 0]

    def all_deferred(self, dag_id: str, run_id: str) -> bool:
        return {task.state for task in self.api.tasks(dag_id, run_id) if task.state in BUSY} == {"deferred"}


BUSY = ("running", "queued", "scheduled", "deferred", "up_for_retry", "restarting")


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with own_folder() as folder, running(folder / "data") as servers:
        project = new_project(folder)
        flag = folder / "stop"
        (project / "include" / "signals.py").write_text(f"FLAG = {str(flag)!r}\n{SIGNALS}")
        write(project / "migrations", "0001", None, SLOWLY, name="0001_once.py")
        write(project / "migrations", "0002", "0001", SLOWLY, name="0002_twice.py")
        fill_users(servers, ROWS)
        with (
            airflow_running(
                servers,
                dags=project / "dags",
                plugins=HERE / "plugins",
                migrations=project / "migrations",
                needed={"revision_0001_once", "revision_0002_twice"},
            ) as airflow,
            closing(airflow.client("deploy")) as api,
        ):
            yield Live(servers=servers, airflow=airflow, api=api, flag=flag)


def test_a_paused_run_gives_its_workers_back_and_goes_on_where_it_was(live: Live) -> None:
    dag = "revision_0001_once"
    live.api.trigger(dag, "paused", CONF)
    until(lambda: live.changed(by=1) > 0, "writing")
    run = live.run_of("paused")
    with closing(live.airflow.client("viewer")) as viewer, pytest.raises(AirflowRefusedError, match="403"):
        viewer.post(f"/lockstep/runs/{run}/pause", {"reason": "I may only look"})

    told = live.api.post(f"/lockstep/runs/{run}/pause", {"reason": "exams begin"})

    assert told["pause"]["by"] == "deploy"
    until(lambda: live.all_deferred(dag, "paused"), "without a worker")
    before = live.changed(by=1)
    assert 0 < before < ROWS
    time.sleep(5)
    assert live.changed(by=1) == before
    assert live.all_deferred(dag, "paused")
    page = live.api.get(f"/lockstep/runs/{run}")
    assert page["run"]["pause"]["reason"] == "exams begin"
    assert "held" in {shard["state"] for shard in page["shards"]}
    assert any("exams begin" in (shard["waits_for"] or "") for shard in page["shards"])

    live.api.post(f"/lockstep/runs/{run}/resume", {})

    until(lambda: live.changed(by=1) > before, "going on", 30)
    assert live.api.wait(dag, "paused", seconds=LIMIT).state == "success"
    assert live.changed(by=1) == ROWS
    assert {task.try_number for task in live.shards(dag, "paused")} == {1}
    said = [entry.get("event", "") for entry in live.api.log(dag, "paused", live.shards(dag, "paused")[0])]
    assert any(line.startswith("HELD: ") and "until it is resumed" in line for line in said)


def test_a_signal_of_the_project_holds_the_writes_and_lets_them_go_on(live: Live) -> None:
    dag = "revision_0002_twice"
    live.api.trigger(dag, "held", CONF)
    until(lambda: live.changed(by=2) > 0, "writing")

    live.flag.touch()
    time.sleep(2.5)
    before = live.changed(by=2)
    time.sleep(3)
    assert live.changed(by=2) == before
    live.flag.unlink()
    until(lambda: live.changed(by=2) > before, "going on", 10)

    live.flag.touch()
    until(lambda: live.all_deferred(dag, "held"), "without a worker, once it waited long enough")
    held = live.changed(by=2)
    assert held < ROWS
    live.flag.unlink()
    until(lambda: live.changed(by=2) > held, "going on", 30)

    assert live.api.wait(dag, "held", seconds=LIMIT).state == "success"
    assert live.changed(by=2) == ROWS
    assert {task.try_number for task in live.shards(dag, "held")} == {1}


def test_the_pools_of_the_databases_are_there_and_used(live: Live) -> None:
    with closing(live.airflow.client("admin")) as admin:
        found = {pool["name"]: pool["slots"] for pool in admin.get("/api/v2/pools")["pools"]}
    path = "/api/v2/dags/revision_0001_once/dagRuns/paused/taskInstances"
    used = {
        one["pool"]
        for one in live.api.get(path, limit=100)["task_instances"]
        if one["map_index"] >= 0 and one["task_id"].startswith("upgrade.")
    }

    assert found["lockstep_campus_auth"] == 4
    assert used == {"lockstep_campus_auth"}
