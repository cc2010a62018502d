"""Ask a person, and wait for the answer without holding a worker or a trigger.

The question is Airflow's own: it is shown under Required Actions, and answered there or over the REST API by
whoever Airflow's roles allow to. The task waits in the state `awaiting_input` for as long as it takes.

Airflow 3.3 hears a person well, and a program that answers within the second badly. It takes a task for lost that is
answered before it has seen the task's worker go, and tries it again, where to put the question anew would wipe the
answer out: so a task keeps that it has asked, and a later try looks for the answer. And an answer that comes while the
task is being parked is kept, but wakes nobody: so the task is woken soon to see, and now and then after that.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.sdk.exceptions import TaskAwaitingInput, TaskDeferred
from airflow.sdk.execution_time.context import NEVER_EXPIRE
from airflow.triggers.base import BaseTrigger, TriggerEvent

from lockstep.domain.errors import Refused, Unavailable
from lockstep.orchestration.polling import poll

if TYPE_CHECKING:
    from lockstep.orchestration.tasks.base import Desk

#: seconds within which Airflow ends a task whose DAG run it was asked to start over
PATIENCE = 300.0
#: the method of a task that is called with the answer
ANSWERED = "answered"
#: how long a task is parked at first, and later on, before it is woken to see whether it was answered unheard
SOON, NOW_AND_THEN = timedelta(seconds=20), timedelta(days=1)
#: key of a task's state store, which outlives its tries, that says what was asked
ASKED = "asked"


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
    keep: Mapping[str, Any] | None = None,
    sign: str = "",
) -> TaskAwaitingInput:
    """Put a question anew and return what parks the task until it is answered.

    body: Markdown. keep: arguments, as JSON, that `answered` is called with besides the event. sign: what of the body
    must be what people see: Airflow goes on showing the first question of a task, and where that lacks it, this raises
    Refused.
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
    store(desk).set(ASKED, {"since": desk.ti.max_tries, "keep": dict(keep or {})}, retention=NEVER_EXPIRE)
    desk.log.warning(
        f"WAITING FOR A PERSON: {subject} Choose one of {', '.join(choices)} under Required Actions. The worker is "
        "free meanwhile."
    )
    for line in body.splitlines():
        desk.log.info(line)
    return TaskAwaitingInput(method_name=ANSWERED, kwargs=dict(keep or {}), timeout=SOON)


def has_asked(desk: Desk) -> dict[str, Any] | None:
    """Return what is kept with the question that this task waits with; None where none is open.

    A person who clears the task wants to be asked anew: clearing raises the number of tries that are left. So does a
    run that has started over, once Airflow has cleared it.
    """
    asked = store(desk).get(ASKED)
    if not asked or asked["since"] != desk.ti.max_tries:
        return None
    over: int | None = asked.get("over")
    return None if over is not None and _cleared(desk) > over else asked["keep"]


def _cleared(desk: Desk) -> int:
    """Return how often this DAG run was cleared."""
    return desk.context["dag_run"].clear_number or 0


def waiting_on(desk: Desk, keep: Mapping[str, Any]) -> TaskDeferred:
    """Return what defers a later try of a task that has asked, until it is known whether it was answered."""
    desk.log.info("An earlier try of this task has asked: its answer counts, given or to come.")
    return TaskDeferred(trigger=Looked(str(desk.ti.id)), method_name=ANSWERED, kwargs=dict(keep))


def unanswered(event: Any) -> bool:
    """Say whether a task was only woken to see."""
    return not (event or {}).get("chosen_options")


def still_waiting(desk: Desk, keep: Mapping[str, Any]) -> TaskAwaitingInput:
    """Return what parks the task again with the question that it has put; an answer given meanwhile wakes it."""
    desk.log.info("WAITING FOR A PERSON: nobody has answered yet. The worker is free meanwhile.")
    return TaskAwaitingInput(method_name=ANSWERED, kwargs=dict(keep), timeout=NOW_AND_THEN)


def store(desk: Desk) -> Any:
    return desk.context["task_state_store"]


class Looked(BaseTrigger):
    """Look once whether the question of a task instance is answered: a task itself cannot ask Airflow that."""

    def __init__(self, ti_id: str, seconds: float = 5.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ti_id = ti_id
        #: seconds before it looks
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return f"{__name__}.{type(self).__name__}", {"ti_id": self.ti_id, "seconds": self.seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(await poll(self.look, self.seconds))  # type: ignore[no-untyped-call]

    def look(self) -> dict[str, Any]:
        """Return the answer, as `answer_of` reads it, or one without a choice."""
        from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail

        found = get_hitl_detail_content_detail(ti_id=UUID(self.ti_id))
        by = found.responded_by_user
        return {
            "chosen_options": list(found.chosen_options or []),
            "responded_at": found.responded_at.isoformat() if found.responded_at else None,
            "responded_by_user": {"id": by.id, "name": by.name} if by else None,
        }


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
    # The answer counts until Airflow has cleared the run: a try that dies in between hears it once more.
    asked = store(desk).get(ASKED)
    store(desk).set(ASKED, {**asked, "over": _cleared(desk)}, retention=NEVER_EXPIRE)
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
