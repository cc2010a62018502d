"""A live Airflow: a run that fails, waits for a person without a worker, and goes on as they chose over REST."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import live_airflow
import pytest
from live_airflow import HERE, fill_users, new_project, until
from revisions import write
from whole_system import own_folder

from lockstep.embedded import running
from lockstep.embedded.airflow import Airflow, airflow_running
from lockstep.embedded.airflow_errors import AirflowRefusedError

DAG = "revision_0001_gated"
ASK = "downgrade.ask"
ROWS = 500
LIMIT = 300.0
CONF = {"shards": 2, "on_failure": "ask"}
#: Its last step fails until there is a table `gate`, and so does the way back of that step.
GATED = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])
    yield ops.run_python(pass_the_gate, touches=Users, reverse=go_back)

def downgrade():
    yield ops.restore(Users)

def more(row):
    return {**row, "n": row["n"] + 1}

def pass_the_gate(hands):
    if hands.open(Users).execute("SELECT to_regclass('gate')").fetchone() == (None,):
        raise ValueError("the gate is shut")

def go_back(hands):
    if hands.open(Users).execute("SELECT to_regclass('way_back')").fetchone() == (None,):
        raise ValueError("there is no way back")
"""
#: states in which a task has a worker, or is about to
AT_WORK = {"running", "queued", "scheduled", "restarting", "up_for_retry"}


@dataclass(frozen=True, kw_only=True)
class Live(live_airflow.Live):
    airflow: Airflow

    def changed(self, by: int) -> int:
        """Return how many rows were incremented so often."""
        return int(self.rows(f"SELECT count(*) FROM users WHERE n = id + {by}")[0][0])

    def states(self, run_id: str) -> dict[str, str | None]:
        return {task.task_id: task.state for task in self.api.tasks(DAG, run_id)}

    def asks(self, run_id: str, task: str) -> None:
        """Return once a task waits for an answer, and nothing of the run is at work."""

        def waits() -> bool:
            states = self.states(run_id)
            return states.get(task) == "awaiting_input" and not AT_WORK & set(filter(None, states.values()))

        until(waits, f"asking in {task}, with nothing at work")

    def end(self, run_id: str) -> tuple[str, str, str]:
        """Return how Airflow, the run and the revision ended."""
        state = self.api.wait(DAG, run_id, seconds=LIMIT).state
        query = f"SELECT status FROM _migration_runs WHERE dag_run_id = '{run_id}'"
        ((run,),) = self.rows(query, "campus_admin")
        ((revision,),) = self.rows("SELECT status FROM _migrations WHERE id = '0001'", "campus_admin")
        return state, run, revision

    def chosen(self, run_id: str) -> list[tuple[str, str]]:
        """Return who chose what in a run, from the history."""
        found = self.rows(
            "SELECT h.who, h.detail::text FROM _migration_history h JOIN _migration_runs r ON r.id = h.run_id"
            f" WHERE r.dag_run_id = '{run_id}' AND h.kind = 'chosen' ORDER BY h.id",
            "campus_admin",
        )
        return [(who, json.loads(detail)["choice"]) for who, detail in found]


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with own_folder() as folder, running(folder / "data") as servers:
        project = new_project(folder)
        write(project / "migrations", "0001", None, GATED, name="0001_gated.py")
        fill_users(servers, ROWS)
        with (
            airflow_running(
                servers,
                dags=project / "dags",
                plugins=HERE / "plugins",
                migrations=project / "migrations",
                needed={DAG},
            ) as airflow,
            closing(airflow.client("deploy")) as api,
        ):
            yield Live(servers=servers, airflow=airflow, api=api)


def test_a_failed_run_waits_for_a_person_without_a_worker_and_is_taken_back_by_choice(live: Live) -> None:
    live.rows("CREATE TABLE way_back ()")
    live.api.trigger(DAG, "first", CONF)
    live.asks("first", ASK)
    assert live.changed(by=1) == ROWS
    question = live.api.question(DAG, "first", ASK)
    assert question["options"] == ["retry", "downgrade", "restore", "leave"]
    assert "the gate is shut" in question["body"]
    assert f"{ROWS} record(s) written" in question["body"]
    time.sleep(5)
    live.asks("first", ASK)
    with closing(live.airflow.client("viewer")) as viewer, pytest.raises(AirflowRefusedError, match="403"):
        viewer.answer(DAG, "first", ASK, "leave")

    live.api.answer(DAG, "first", ASK, "downgrade")

    assert live.end("first") == ("failed", "rolled_back", "rolled_back")
    assert live.changed(by=0) == ROWS
    assert live.chosen("first") == [("deploy", "downgrade")]
    assert live.states("first")["put_back"] == "skipped"
    with pytest.raises(AirflowRefusedError, match="409"):
        live.api.answer(DAG, "first", ASK, "leave")
    live.rows("DROP TABLE way_back")


def test_the_backups_are_put_back_by_choice(live: Live) -> None:
    live.api.trigger(DAG, "second", CONF)
    live.asks("second", ASK)

    live.api.answer(DAG, "second", ASK, "restore")

    assert live.end("second") == ("failed", "rolled_back", "rolled_back")
    assert live.changed(by=0) == ROWS
    states = live.states("second")
    assert states["put_back"] == "success"
    assert states["verify_restored"] == "skipped"


def test_an_undo_that_fails_asks_in_its_turn(live: Live) -> None:
    live.api.trigger(DAG, "third", {"shards": 2, "on_undo_failure": "ask"})
    live.asks("third", "put_back")
    assert live.changed(by=1) == ROWS
    assert "there is no way back" in live.api.question(DAG, "third", "put_back")["body"]

    live.api.answer(DAG, "third", "put_back", "restore")

    assert live.end("third") == ("failed", "rolled_back", "rolled_back")
    assert live.changed(by=0) == ROWS


def test_a_retry_goes_on_where_it_stopped_asks_again_and_ends_green_once_it_is_mended(live: Live) -> None:
    live.api.trigger(DAG, "fourth", CONF)
    live.asks("fourth", ASK)

    live.api.answer(DAG, "fourth", ASK, "retry")

    # The answer has let the task go on: when it waits again, it is the next question.
    live.asks("fourth", ASK)
    assert live.api.question(DAG, "fourth", ASK)["response_received"] is False
    assert live.changed(by=1) == ROWS
    live.rows("CREATE TABLE gate ()")
    live.api.answer(DAG, "fourth", ASK, "retry")

    assert live.end("fourth") == ("success", "applied", "applied")
    assert live.changed(by=1) == ROWS
    assert live.chosen("fourth") == [("deploy", "retry"), ("deploy", "retry")]
    said = [
        entry.get("event", "")
        for task in live.api.tasks(DAG, "fourth")
        if task.task_id.startswith("upgrade.") and task.map_index == 0
        for entry in live.api.log(DAG, "fourth", task)
    ]
    assert any("done by an earlier attempt" in line for line in said)
