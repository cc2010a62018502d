"""Ask a person, and wait for the answer without holding a worker or a trigger.

The question is Airflow's own: it is shown under Required Actions, and answered there or over the REST API by
whoever Airflow's roles allow to. The task waits in the state `awaiting_input` for as long as it takes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import TaskAwaitingInput

from lockstep.domain.errors import Refused, Unavailable

if TYPE_CHECKING:
    from lockstep.orchestration.tasks.base import Desk

#: seconds within which Airflow ends a task whose DAG run it was asked to start over
PATIENCE = 300.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person chose."""

    choice: str
    by: str
    at: datetime | None


def awaiting(
    desk: Desk,
    *,
    subject: str,
    body: str,
    choices: Sequence[str],
    method: str,
    keep: Mapping[str, Any] | None = None,
    sign: str = "",
) -> TaskAwaitingInput:
    """Put a question and return what parks the task until it is answered; `method` is then called with the event.

    body: Markdown. keep: arguments that `method` is called with besides. sign: what of the body must be what people
    see: Airflow goes on showing the first question of a task, and where that lacks it, this raises Refused.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload

    question = CreateHITLDetailPayload(
        ti_id=desk.ti.id,
        options=list(choices),
        subject=subject,
        body=body,
        multiple=False,
        params={},
        assigned_users=[],
    )
    shown = getattr(task_runner.SUPERVISOR_COMMS.send(question), "body", None)
    if sign and shown is not None and sign not in shown:
        raise Refused(
            "this task asked about something else before, and Airflow would go on showing that. Nothing was changed; "
            "trigger the DAG anew, and the question is what it should be.",
            sign=sign,
        )
    desk.log.warning(
        f"WAITING FOR A PERSON: {subject} Choose one of {', '.join(choices)} under Required Actions. The worker is "
        "free meanwhile."
    )
    for line in body.splitlines():
        desk.log.info(line)
    return TaskAwaitingInput(method_name=method, kwargs=dict(keep or {}))


def answer_of(event: Any) -> Answer:
    """Return what an answer says, and whose it is."""
    given = dict(event or {})
    user = given.get("responded_by_user")
    name = user.get("name") or user.get("id") if isinstance(user, dict) else getattr(user, "name", None)
    at = given.get("responded_at")
    return Answer(
        choice=str((given.get("chosen_options") or [""])[0]),
        by=str(name or "unknown"),
        at=datetime.fromisoformat(at) if isinstance(at, str) else at,
    )


def start_over(desk: Desk) -> Unavailable:
    """Let this DAG run begin again, from its first task; this one is ended by that.

    Whatever is done says so and passes, what failed goes on where it stopped. Returns what to raise where Airflow
    does not do it.
    """
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import TriggerDagRun

    desk.log.warning(
        "This DAG run starts over now: what is done passes, what failed goes on where it stopped. That ends this "
        "task, which comes again after the others."
    )
    message = TriggerDagRun(dag_id=desk.ti.dag_id, run_id=desk.ti.run_id, reset_dag_run=True)
    task_runner.SUPERVISOR_COMMS.send(message)
    # To end well now would be to say that this try of the task did; it is not Airflow's current one any more.
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        time.sleep(1.0)
    return Unavailable(
        f"Airflow was asked to clear its run {desk.ti.run_id}, and this task still runs. Clear the failed tasks "
        "of the DAG run by hand; the choice is recorded.",
        run_id=desk.ti.run_id,
    )
