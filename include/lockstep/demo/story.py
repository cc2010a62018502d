"""What the log of a failed task says, for a person."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from lockstep.embedded.airflow_api import AirflowApi, DagRun, TaskInstance

#: The task that tells the whole of a run.
OUTCOME = "outcome"
LINES = 16
LONGEST = 300


def first_failed(tasks: Iterable[TaskInstance]) -> TaskInstance | None:
    """Return the failed task that ended first: the others failed for its sake."""
    last = datetime.max.replace(tzinfo=timezone.utc)
    failed = [task for task in tasks if task.state == "failed"]
    return min(failed, key=lambda task: (task.task_id == OUTCOME, task.ended or last), default=None)


def told(api: AirflowApi, run: DagRun, task: TaskInstance, lines: int = LINES) -> list[str]:
    """Return the last lines of a task's log, without what folds them."""
    entries = api.log(run.dag_id, run.run_id, task)
    return [line for entry in entries for line in _lines(entry)][-lines:]


def failure_story(api: AirflowApi, run: DagRun) -> list[str]:
    """Return what the failing task of a run said last, under a heading and above the address of the run."""
    task = first_failed(api.tasks(run.dag_id, run.run_id))
    if task is None:
        return [
            f"{run.dag_id} is {run.state}, and none of its tasks is.",
            api.run_url(run.dag_id, run.run_id),
        ]
    named = f"{task.task_id}[{task.label or task.map_index}]" if task.map_index >= 0 else task.task_id
    heading = f"The log of task '{named}' of {run.dag_id} ends with:"
    address = f"See {api.run_url(run.dag_id, run.run_id)}"
    return [heading, *(f"    {line}" for line in told(api, run, task)), address]


def _lines(entry: Mapping[str, Any]) -> Iterator[str]:
    event = str(entry.get("event", ""))
    if event.startswith(("::group::", "::endgroup::", "::endgroup")):
        return
    level = str(entry.get("level", ""))
    mark = f"{level.upper()}: " if level in ("warning", "error", "critical") else ""
    for number, line in enumerate(event.splitlines()):
        yield (mark if number == 0 else "  ") + line[:LONGEST]
    for error in (entry.get("error_detail") or ())[-1:]:  # the others only wrap it, and were said above
        yield f"{error['exc_type']}: {error['exc_value']}"[:LONGEST]
