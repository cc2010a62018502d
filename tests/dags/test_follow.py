"""migrate and rollback: hops in order, one at a time, stopping at the first that is not where it should be."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from lockstep.domain.errors import LockstepError
from lockstep.domain.run import Caller, Run
from lockstep.domain.status import RunStatus, Status

ROUTE = [
    {"revision": "0001", "dag_id": "revision_0001", "direction": "upgrade"},
    {"revision": "0002", "dag_id": "revision_0002", "direction": "upgrade"},
]
PARAMS = {"target": "head", "shards": 3, "note": "TICKET-1"}


@dataclass
class Airflow:
    """DAG runs by id, and the ledger behind them."""

    states: dict[tuple[str, str], str] = field(default_factory=dict)
    ended: dict[tuple[str, str], RunStatus] = field(default_factory=dict)
    revisions: dict[str, Status] = field(default_factory=dict)
    left: dict[tuple[str, str], Any] = field(default_factory=dict)
    started: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    clear_number: int = 0

    def run_is(self, dag_id: str, run_id: str, *states: str) -> bool:
        state = self.states.get((dag_id, run_id))
        return state is not None and (not states or state in states)

    def start(self, dag_id: str, run_id: str, conf: dict[str, Any], note: str | None) -> None:
        self.started.append((dag_id, run_id, conf))
        self.states[dag_id, run_id] = "running"

    def told(self, dag_id: str, run_id: str, task_id: str, key: str) -> Any:
        return self.left.get((run_id, key))

    def end(self, state: str, ended: RunStatus, stands: Status) -> None:
        """Let the run that was started last end."""
        dag_id, run_id, _ = self.started[-1]
        self.states[dag_id, run_id] = state
        self.ended[dag_id, run_id] = ended
        self.revisions[dag_id.removeprefix("revision_")] = stands

    # --- the ledger ------------------------------------------------------------------------------------

    def run_of(self, dag_id: str, run_id: str) -> Run | None:
        status = self.ended.get((dag_id, run_id))
        if status is None:
            return None
        return Run(
            id=f"run of {run_id}",
            revision=dag_id.removeprefix("revision_"),
            direction="upgrade",
            status=status,
            caller=Caller(dag_id=dag_id, dag_run_id=run_id),
            checksum="",
            started_at=datetime.now(timezone.utc),
        )


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    from lockstep.orchestration import callers, children

    fake = Airflow()
    monkeypatch.setattr(callers, "run_is", fake.run_is)
    monkeypatch.setattr(children, "run_is", fake.run_is)
    monkeypatch.setattr(children, "start", fake.start)
    monkeypatch.setattr(children, "told", fake.told)
    return fake


def desk(airflow: Airflow, route: list[dict[str, str]]) -> Any:
    from lockstep.orchestration.logs import TaskLog

    ledger = SimpleNamespace(
        run_of=airflow.run_of,
        revisions=lambda: {
            name: SimpleNamespace(status=status) for name, status in airflow.revisions.items()
        },
    )
    return SimpleNamespace(
        ti=SimpleNamespace(dag_id="migrate", run_id="deploy-1", xcom_pull=lambda **given: route),
        context={"dag_run": SimpleNamespace(clear_number=airflow.clear_number)},
        params=PARAMS,
        services=SimpleNamespace(ledger=ledger),
        log=TaskLog(),
        doing="",
    )


def walk(airflow: Airflow, route: list[dict[str, str]] | None = None, done: Any = ()) -> Any:
    """Walk once: return the result, or what the task is deferred with."""
    from airflow.sdk.exceptions import TaskDeferred

    from lockstep.orchestration.tasks.follow import Follow

    task = Follow(task_id="follow", path="")
    try:
        return task.walk(desk(airflow, ROUTE if route is None else route), list(done))
    except TaskDeferred as deferred:
        return deferred


def test_an_empty_route_is_nothing_to_do(airflow: Airflow) -> None:
    assert walk(airflow, []) == {"target": "head", "moved": 0, "said": "nothing to do", "revisions": []}
    assert airflow.started == []


def test_a_hop_is_started_and_waited_for_without_a_worker(airflow: Airflow) -> None:
    deferred = walk(airflow)

    ((dag_id, run_id, conf),) = airflow.started
    assert (dag_id, run_id) == ("revision_0001", "deploy-1__0001_up")
    assert conf == {
        "shards": 3,
        "note": "TICKET-1",
        "direction": "upgrade",
        "lockstep_parent": "migrate/deploy-1",
    }
    path, given = deferred.trigger.serialize()
    assert path == "lockstep.orchestration.waiting.DagRunEnded"
    assert given["run_id"] == "deploy-1__0001_up"


def test_the_next_hop_starts_after_the_one_before_stands(airflow: Airflow) -> None:
    walk(airflow)
    airflow.end("success", RunStatus.APPLIED, Status.APPLIED)
    airflow.left["deploy-1__0001_up", "return_value"] = {"records": 7, "seconds": 1.5, "backup_bytes": 9}

    deferred = walk(airflow)

    assert [run_id for _, run_id, _ in airflow.started] == ["deploy-1__0001_up", "deploy-1__0002_up"]
    assert deferred.kwargs["done"][0]["records"] == 7


def test_the_result_names_every_hop(airflow: Airflow) -> None:
    for _ in ROUTE:
        walk(airflow)
        airflow.end("success", RunStatus.APPLIED, Status.APPLIED)

    result = walk(airflow)

    assert result["moved"] == 2
    assert [hop["revision"] for hop in result["revisions"]] == ["0001", "0002"]
    assert result["revisions"][0]["dag_run"] == "revision_0001/deploy-1__0001_up"


def test_a_try_after_a_kill_finds_the_run_that_was_started_before(airflow: Airflow) -> None:
    walk(airflow)
    walk(airflow)

    assert len(airflow.started) == 1


@pytest.mark.parametrize(
    ("state", "ended", "stands"),
    [
        ("failed", RunStatus.ROLLED_BACK, Status.ROLLED_BACK),
        ("failed", RunStatus.FAILED, Status.FAILED),
        ("failed", RunStatus.APPLIED, Status.APPLIED),
        ("success", RunStatus.OPEN, Status.UPGRADING),
        ("success", RunStatus.APPLIED, Status.ROLLED_BACK),
    ],
)
def test_a_hop_that_is_not_where_it_should_be_stops_the_walk(
    airflow: Airflow, state: str, ended: RunStatus, stands: Status
) -> None:
    walk(airflow)
    airflow.end(state, ended, stands)
    airflow.left["deploy-1__0001_up", "error"] = "record 'x' cannot be carried"

    with pytest.raises(LockstepError, match=r"(?s)stopped at revision '0001'.*record 'x' cannot.*see: "):
        walk(airflow)

    assert len(airflow.started) == 1


def test_a_hop_whose_run_was_deleted_says_so(airflow: Airflow) -> None:
    from lockstep.orchestration.tasks.follow import stopped

    error = stopped(ROUTE[0], "deploy-1__0001_up", None, green=False)

    assert "its DAG run was deleted" in str(error)


def test_a_cleared_run_starts_a_failed_hop_again_under_a_new_id(airflow: Airflow) -> None:
    walk(airflow)
    airflow.end("failed", RunStatus.ROLLED_BACK, Status.ROLLED_BACK)
    airflow.clear_number = 1

    walk(airflow)

    assert airflow.started[-1][1] == "deploy-1__0001_up__2"


def test_a_cleared_run_waits_for_a_hop_that_still_lives(airflow: Airflow) -> None:
    walk(airflow)
    airflow.clear_number = 1

    deferred = walk(airflow)

    assert len(airflow.started) == 1
    assert deferred.trigger.run_id == "deploy-1__0001_up"


def test_a_long_run_id_is_cut_and_keeps_its_end(airflow: Airflow) -> None:
    from lockstep.orchestration.children import child_run_id

    made = child_run_id("x" * 300, "0001", "downgrade", 2)

    assert len(made) == 250
    assert made.endswith("__0001_down__3")


def test_a_downgrade_must_leave_the_revision_not_applied(airflow: Airflow) -> None:
    route = [{"revision": "0002", "dag_id": "revision_0002", "direction": "downgrade"}]
    walk(airflow, route)
    airflow.end("success", RunStatus.DOWNGRADED, Status.ROLLED_BACK)

    assert walk(airflow, route)["moved"] == 1
