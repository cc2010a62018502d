"""What a deploy's run came to: which state the databases are in, and the words of the task that failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from lockstep.cli.deploying.answer import NO, YES, Answer
from lockstep.cli.deploying.asked import MIGRATE, Asked
from lockstep.cli.deploying.looking import ERROR, FOLLOW, NOT_OPENED, OUTCOME, PLAN, Look, Step
from lockstep.cli.deploying.plan_shown import plan_lines, plan_of
from lockstep.stores.airflow import AirflowClient, TaskInstance

#: what a run's status in the ledger means for the databases
_STANDS = {
    "rolled_back": "What revision {revision} had done is undone, and compared with what was there before: the chain "
    "stands {before}.",
    "restored": "The backups that revision {revision} had taken are put back: the chain stands {before}.",
    "stopped": "Revision {revision} ended before it changed anything: the chain stands {before}.",
    NOT_OPENED: "The run of revision {revision} was not opened in the ledger: nothing was changed by it.",
    "failed": "Revision {revision} is half-way: what it had done could not be undone. It blocks every later run until "
    "a person resumes it, or restores its backup.",
    "open": "Revision {revision} is not recorded yet: its run in the ledger is still open.",
    "applied": "Revision {revision} is applied in the ledger, though its run failed in Airflow.",
}
_UNKNOWN = "What became of revision {revision} is in the log of its task outcome."
_FIRST = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The task that failed first, and the end of its log."""

    dag_id: str
    run_id: str
    task: TaskInstance
    url: str
    log: tuple[str, ...]

    @property
    def name(self) -> str:
        task = self.task
        return f"{task.task_id}[{task.label or task.map_index}]" if task.map_index >= 0 else task.task_id

    def lines(self) -> Iterable[str]:
        yield f"  the last {len(self.log)} line(s) of {self.dag_id} / {self.name}, try {self.task.try_number}:"
        yield from (f"  | {line}" for text in self.log for line in text.splitlines() or [""])
        yield f"  see: {self.url}"

    def facts(self) -> dict[str, Any]:
        return {
            "dag_id": self.dag_id,
            "run_id": self.run_id,
            "task": self.name,
            "try_number": self.task.try_number,
            "url": self.url,
            "log": list(self.log),
        }


def answer_for(client: AirflowClient, asked: Asked, look: Look, log_lines: int) -> Answer:
    """Return the answer of a run that is over."""
    green = look.run.state == "success"
    if green and asked.dry_run:
        return _planned(client, asked, look)
    return _reached(client, asked, look) if green else _missed(client, asked, look, log_lines)


def _answer(client: AirflowClient, asked: Asked, look: Look, **given: Any) -> Answer:
    return Answer(
        target=asked.target,
        environment=asked.environment,
        run_id=look.run.run_id,
        url=client.run_url(MIGRATE, look.run.run_id),
        steps=look.steps,
        **given,
    )


def _planned(client: AirflowClient, asked: Asked, look: Look) -> Answer:
    plan = plan_of(client.told(MIGRATE, look.run.run_id, PLAN))
    state = "nothing was changed: this was a plan"
    return _answer(client, asked, look, exit=YES, lines=tuple(plan_lines(plan)), state=state, plan=plan)


def _reached(client: AirflowClient, asked: Asked, look: Look) -> Answer:
    where = f" in {asked.environment}" if asked.environment else ""
    moved = f"{len(look.steps)} revision(s) applied" if look.steps else "there was nothing to do"
    state = f"the databases are at {asked.target!r}{where}"
    lines = [f"yes: {state}; {moved}"]
    lines += [
        f"  {step.revision} left records as they were: {step.url}"
        for step in look.steps
        if step.status == "applied_with_quarantine"
    ]
    return _answer(client, asked, look, exit=YES, lines=tuple(lines), state=state)


def _missed(client: AirflowClient, asked: Asked, look: Look, log_lines: int) -> Answer:
    step = next((step for step in look.steps if step.state == "failed"), None)
    state = state_of(look.steps, step)
    place = (MIGRATE, look.run.run_id) if step is None else (step.dag_id, str(step.dag_run_id))
    failed = find_failed(client, *place, log_lines)
    error = _error(client, look, step, failed)
    lines = [f"no: the databases are not at {asked.target!r}"]
    lines += failed.lines() if failed is not None else ()
    lines += [f"  error: {error}"] if error else []
    lines += [f"  state: {state}", f"  run: {client.run_url(MIGRATE, look.run.run_id)}"]
    facts = None if failed is None else failed.facts()
    return _answer(client, asked, look, exit=NO, lines=tuple(lines), state=state, error=error, failed=facts)


def state_of(steps: tuple[Step, ...], failed: Step | None) -> str:
    """Say in a sentence where the chain stands after a run that failed."""
    done = [step.revision for step in steps if step.state == "done"]
    before = f"after {done[-1]}" if done else "where it stood before this deploy"
    if failed is None:
        return (
            f"No revision failed: the chain stands {before}."
            if done
            else f"Nothing was changed: it stands {before}."
        )
    return _STANDS.get(failed.status, _UNKNOWN).format(revision=failed.revision, before=before)


def _error(client: AirflowClient, look: Look, step: Step | None, failed: Failed | None) -> str | None:
    """Return the reason in the words of the run that failed, of the task that did, or of migrate itself."""
    places = [(step.dag_id, str(step.dag_run_id), OUTCOME)] if step is not None else []
    if failed is not None and failed.task.map_index < 0:
        places.append((failed.dag_id, failed.run_id, failed.task.task_id))
    places.append((MIGRATE, look.run.run_id, FOLLOW))
    for place in places:
        said = client.told(*place, ERROR)
        if said:
            return str(said)
    return None


def find_failed(client: AirflowClient, dag_id: str, run_id: str, log_lines: int) -> Failed | None:
    """Return the task of a run that failed first: what failed after it, failed for it."""
    tasks = [task for task in client.tasks(dag_id, run_id) if task.state == "failed"]
    if not tasks:
        return None
    task = min(tasks, key=lambda one: one.ended or _FIRST)
    log = client.log(dag_id, run_id, task)
    return Failed(
        dag_id=dag_id,
        run_id=run_id,
        task=task,
        url=client.task_url(dag_id, run_id, task),
        log=tuple(log[-log_lines:] if log_lines else ()),
    )
