"""Who asked: the Airflow run behind a Lockstep run, and whether another one still lives."""

from __future__ import annotations

from typing import Any

from lockstep.domain.run import Caller
from lockstep.orchestration.params import PARENT

#: who asks for a run that Airflow's own timetable or an asset starts
SCHEDULER = "scheduler"
_BY_ITSELF = ("scheduled", "asset_triggered", "backfill")
#: states of a DagRun that may still do something
LIVING = ("queued", "running")


def caller_of(context: Any) -> Caller:
    """Return the Airflow run that a task works for, and the person or service that asked for it."""
    dag_run = context["dag_run"]
    return Caller(
        dag_id=dag_run.dag_id,
        dag_run_id=dag_run.run_id,
        by=getattr(dag_run, "triggering_user_name", None) or _nobody(dag_run),
        parent=parent_of(dag_run),
    )


def _nobody(dag_run: Any) -> str:
    run_type = getattr(dag_run.run_type, "value", dag_run.run_type)
    return SCHEDULER if run_type in _BY_ITSELF else "unknown"


def parent_of(dag_run: Any) -> str | None:
    """Return the run that triggered this one, as "dag_id/run_id"; a person's conf cannot claim one."""
    run_type = getattr(dag_run.run_type, "value", dag_run.run_type)
    parent = (dag_run.conf or {}).get(PARENT)
    return str(parent) if parent and run_type == "operator_triggered" else None


def alive(caller: Caller) -> bool:
    """Say whether an Airflow run is queued or running; one that was deleted is not."""
    return run_is(caller.dag_id, caller.dag_run_id, *LIVING)


def run_is(dag_id: str, run_id: str, *states: str) -> bool:
    """Say whether a DagRun exists in one of these states, or at all where none is named."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    counted = RuntimeTaskInstance.get_dr_count(dag_id=dag_id, run_ids=[run_id], states=list(states) or None)
    return counted > 0
