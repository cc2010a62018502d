"""A live Airflow: a deploy to production waits for a person, who answers over REST; an edited file voids their word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import live_airflow
import pytest
from live_airflow import HERE, fill_users, new_project, until
from revisions import write
from whole_system import own_folder

from lockstep.embedded import running
from lockstep.embedded.airflow import Airflow, airflow_running
from lockstep.embedded.airflow_errors import AirflowRefusedError

FIRST, SECOND = "revision_0001_more", "revision_0002_more"
ROWS = 200
LIMIT = 600.0
ENVIRONMENTS = """
from lockstep.environments import Environment

production = Environment("production")
"""
MORE = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])

def downgrade():
    yield ops.restore(Users)

def more(row):
    return {**row, "n": row["n"] + 1}
"""


@dataclass(frozen=True, kw_only=True)
class Live(live_airflow.Live):
    airflow: Airflow
    migrations: Path

    def changed(self, by: int) -> bool:
        return self.rows(f"SELECT count(*) FROM users WHERE n = id + {by}") == [(ROWS,)]

    def asks(self, dag: str, run_id: str, task: str) -> dict[str, Any]:
        """Return the question of a task, once it waits for an answer."""

        def state() -> str | None:
            return {one.task_id: one.state for one in self.api.tasks(dag, run_id)}.get(task)

        until(lambda: state() == "awaiting_input", f"asking in {task}")
        return self.api.question(dag, run_id, task)

    def history(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        query = f"SELECT who, detail::text FROM _migration_history WHERE kind = '{kind}' ORDER BY id"
        return [(who, json.loads(detail)) for who, detail in self.rows(query, "campus_admin")]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with own_folder() as folder, running(folder / "data") as servers:
        project = new_project(folder)
        (project / "include" / "environments.py").write_text(ENVIRONMENTS)
        migrations = project / "migrations"
        write(migrations, "0001", None, MORE, name="0001_more.py")
        write(migrations, "0002", "0001", MORE, name="0002_more.py")
        fill_users(servers, ROWS)
        with (
            airflow_running(
                servers,
                dags=project / "dags",
                plugins=HERE / "plugins",
                migrations=migrations,
                needed={"migrate", FIRST, SECOND},
            ) as airflow,
            closing(airflow.client("deploy")) as api,
        ):
            yield Live(servers=servers, airflow=airflow, api=api, migrations=migrations)


def test_a_deploy_waits_for_a_person_whose_yes_is_enough_for_the_revision_s_own_run(live: Live) -> None:
    live.api.trigger("migrate", "first", {"target": "0001", "shards": 1})
    question = live.asks("migrate", "first", "approve")
    assert question["options"] == ["Approve", "Reject"]
    assert "upgrade 0001: A step." in question["body"]
    assert "never rehearsed" in question["body"]
    assert "its before-images are put back from the journal" in question["body"]
    assert live.changed(by=0)
    with closing(live.airflow.client("viewer")) as viewer, pytest.raises(AirflowRefusedError, match="403"):
        viewer.answer("migrate", "first", "approve", "Approve")

    live.api.answer("migrate", "first", "approve", "Approve")

    assert live.api.wait("migrate", "first", seconds=LIMIT).state == "success"
    assert live.changed(by=1)
    ((who, said),) = live.history("approved")
    assert (who, said["revision"], said["policy"]) == ("deploy", "0001", "all")


def test_a_no_to_a_revision_s_own_run_opens_none(live: Live) -> None:
    live.api.trigger(SECOND, "second", {"shards": 1})
    live.asks(SECOND, "second", "open_run")

    live.api.answer(SECOND, "second", "open_run", "Reject")

    assert live.api.wait(SECOND, "second", seconds=LIMIT).state == "failed"
    assert live.rows("SELECT count(*) FROM _migration_runs WHERE revision = '0002'", "campus_admin") == [(0,)]
    assert [who for who, _ in live.history("rejected")] == ["deploy"]


def test_a_byte_after_the_question_makes_the_yes_void_and_nothing_moves(live: Live) -> None:
    live.api.trigger("migrate", "third", {"shards": 1})
    live.asks("migrate", "third", "approve")
    path = live.migrations / "0002_more.py"
    path.write_bytes(path.read_bytes() + b"\n")

    live.api.answer("migrate", "third", "approve", "Approve")

    assert live.api.wait("migrate", "third", seconds=LIMIT).state == "failed"
    ((_, void),) = live.history("approval_void")
    assert "0002_more.py) was edited after deploy approved it" in void["reason"]
    assert live.changed(by=1)
    live.api.trigger("migrate", "fourth", {"shards": 1})
    live.asks("migrate", "fourth", "approve")
    live.api.answer("migrate", "fourth", "approve", "Approve")
    assert live.api.wait("migrate", "fourth", seconds=LIMIT).state == "success"
    assert live.changed(by=2)
