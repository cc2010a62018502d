"""Start the DAG run of a revision, and learn how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError

from lockstep.domain.errors import Refused, Unavailable
from lockstep.orchestration.callers import LIVING, run_is

#: longest run id that Airflow stores
LONGEST = 250


def child_run_id(parent_run_id: str, revision: str, direction: str, attempt: int) -> str:
    """Return the id of a hop's run: the same each time, so that a retry finds what was started before.

    `attempt` counts how often the parent was cleared after its end.
    """
    end = f"__{revision}_{'up' if direction == 'upgrade' else 'down'}" + (
        f"__{attempt + 1}" if attempt else ""
    )
    return parent_run_id[: LONGEST - len(end)] + end


def find(dag_id: str, parent_run_id: str, revision: str, direction: str, attempts: int) -> str | None:
    """Return the run of this hop that lives, or else the one of the last attempt; None where there is none."""
    ids = [child_run_id(parent_run_id, revision, direction, attempt) for attempt in range(attempts + 1)]
    for run_id in reversed(ids):
        if run_is(dag_id, run_id, *LIVING):
            return run_id
    return ids[-1] if run_is(dag_id, ids[-1]) else None


def start(dag_id: str, run_id: str, conf: Mapping[str, Any], note: str | None) -> None:
    """Trigger a DAG run; one of that id that is already there is as good."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import TriggerDagRun

    refuse_paused(dag_id)
    message = TriggerDagRun(dag_id=dag_id, run_id=run_id, conf=dict(conf), note=note or None)
    try:
        task_runner.SUPERVISOR_COMMS.send(message)
    except AirflowRuntimeError as problem:
        raise not_startable(dag_id, problem) from problem


def refuse_paused(dag_id: str) -> None:
    """Raise Refused for a paused DAG: its run would be accepted, and then wait for ever."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    try:
        paused = RuntimeTaskInstance.get_dag(dag_id).is_paused
    except AirflowRuntimeError as problem:
        raise not_startable(dag_id, problem) from problem
    if paused:
        raise Refused(
            f"the DAG {dag_id!r} is paused, so its run would wait for ever. Unpause it in Airflow, then trigger "
            "this again.",
            dag_id=dag_id,
        )


def not_startable(dag_id: str, problem: AirflowRuntimeError) -> Exception:
    """Return the error for a DAG that Airflow does not start."""
    detail = problem.error.detail or {}
    if detail.get("status_code") == 404:
        return Unavailable(
            f"Airflow has no DAG {dag_id!r}. Either its file has not been read yet, or it cannot be used: look at "
            "the import errors on Airflow's home page.",
            dag_id=dag_id,
        )
    return Unavailable(f"Airflow did not start the DAG {dag_id!r}: {detail or problem}.", dag_id=dag_id)


def told(dag_id: str, run_id: str, task_id: str, key: str) -> Any:
    """Return what a task of another run left behind, or None."""
    from airflow.sdk.execution_time.xcom import XCom

    return XCom.get_one(dag_id=dag_id, run_id=run_id, task_id=task_id, key=key)
