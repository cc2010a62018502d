"""Who asked for a run, and the links that lead there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


def context(run_type: str = "manual", conf: dict[str, Any] | None = None, by: str | None = "ann") -> Any:
    dag_run = SimpleNamespace(
        dag_id="revision_0001", run_id="manual__1", run_type=run_type, conf=conf, triggering_user_name=by
    )
    return {"dag_run": dag_run}


def test_the_caller_is_the_dag_run_and_the_person_behind_it() -> None:
    from lockstep.orchestration.callers import caller_of

    caller = caller_of(context())

    assert (caller.dag_id, caller.dag_run_id, caller.by, caller.parent) == (
        "revision_0001",
        "manual__1",
        "ann",
        None,
    )


def test_nobody_known_is_said_so() -> None:
    from lockstep.orchestration.callers import caller_of

    assert caller_of(context(by=None)).by == "unknown"
    assert caller_of(context("scheduled", by=None)).by == "scheduler"


def test_a_parent_is_believed_of_a_run_that_another_run_triggered_and_of_no_person() -> None:
    from lockstep.orchestration.callers import caller_of

    conf = {"lockstep_parent": "migrate/deploy-1"}

    assert caller_of(context("operator_triggered", conf)).parent == "migrate/deploy-1"
    assert caller_of(context("manual", conf)).parent is None


def test_links_keep_the_path_below_which_airflow_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep.orchestration.links import (
        BACKUP_MANIFEST,
        LEDGER_ENTRY,
        TRIGGERED_BY,
        base_url,
        dag_run_url,
    )

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://campus.example/airflow/")
    base_url.cache_clear()
    task = SimpleNamespace(ledger_run="0001-up-1", triggered_by="migrate/deploy 1")
    key: Any = SimpleNamespace(dag_id="revision_0001", run_id="manual__2026-01-01T00:00:00+00:00")

    assert LEDGER_ENTRY.get_link(task, ti_key=key) == "/airflow/lockstep/runs/0001-up-1"
    assert BACKUP_MANIFEST.get_link(task, ti_key=key) == "/airflow/lockstep/runs/0001-up-1/backup"
    assert TRIGGERED_BY.get_link(task, ti_key=key) == "/airflow/dags/migrate/runs/deploy%201"
    assert dag_run_url("d", "r") == "https://campus.example/airflow/dags/d/runs/r"
    base_url.cache_clear()


def test_a_task_that_never_knew_its_run_links_by_the_dag_run(monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep.orchestration.links import LEDGER_ENTRY

    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://localhost:8080")
    key: Any = SimpleNamespace(dag_id="revision_0001", run_id="a+b")

    assert LEDGER_ENTRY.get_link(SimpleNamespace(), ti_key=key) == "/lockstep/dag-runs/revision_0001/a%2Bb"
