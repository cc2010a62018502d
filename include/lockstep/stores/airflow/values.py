"""Rows of Airflow's REST API as values; a row becomes one here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

#: states of a run that is over
ENDED = frozenset({"success", "failed"})


@dataclass(frozen=True, kw_only=True)
class DagRun:
    """One run of a DAG, as Airflow sees it."""

    dag_id: str
    run_id: str
    state: str
    started: datetime | None
    ended: datetime | None
    #: what the run was asked for with
    conf: Mapping[str, Any] = field(default_factory=dict)
    #: the user who asked for it, where Airflow says so
    by: str | None = None

    @property
    def over(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True, kw_only=True)
class TaskInstance:
    """One task of a run; map_index is -1 unless the task is mapped."""

    task_id: str
    map_index: int
    #: None until the scheduler has looked at it
    state: str | None
    try_number: int
    label: str
    started: datetime | None
    ended: datetime | None


def dag_run(row: Mapping[str, Any]) -> DagRun:
    """Return a row of dagRuns as a value."""
    return DagRun(
        dag_id=row["dag_id"],
        run_id=row["dag_run_id"],
        state=row["state"],
        started=moment(row.get("start_date")),
        ended=moment(row.get("end_date")),
        conf=row.get("conf") or {},
        by=row.get("triggering_user_name"),
    )


def task_instance(row: Mapping[str, Any]) -> TaskInstance:
    """Return a row of taskInstances as a value."""
    return TaskInstance(
        task_id=row["task_id"],
        map_index=row["map_index"],
        state=row["state"],
        try_number=row["try_number"],
        label=row.get("rendered_map_index") or "",
        started=moment(row.get("start_date")),
        ended=moment(row.get("end_date")),
    )


def moment(text: str | None) -> datetime | None:
    """Return a time of the API, which is in UTC."""
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))
