"""The last words of a task that failed: what was being done, how far it got, and what comes next."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from lockstep.domain.errors import LockstepError
from lockstep.orchestration.retries import as_airflow_sees_it, will_retry

if TYPE_CHECKING:
    from lockstep.orchestration.tasks.base import Desk

#: XCom key of a failed task's message, which whoever waits for the run shows
ERROR = "error"
RULE = "─" * 78


def failed(desk: Desk, error: Exception) -> BaseException:
    """Log what a person needs, keep the error on the run, and return what Airflow is to see."""
    retried = will_retry(error, desk.ti.try_number, desk.ti.max_tries)
    if retried:
        desk.log.warning(
            f"{_where(desk)}: {error} It will be tried again (try {desk.ti.try_number} of "
            f"{desk.ti.max_tries + 1} failed)."
        )
        return as_airflow_sees_it(error, retried)
    for line in last_words(desk, error):
        desk.log.error(line)
    _keep(desk, error)
    return as_airflow_sees_it(error, retried)


def last_words(desk: Desk, error: Exception) -> list[str]:
    """Return the final block of the log, one line an event."""
    lines = [RULE, f"FAILED: {_where(desk)}"]
    lines += _how_far(desk)
    lines += _record(error)
    lines += _backups(desk)
    lines.append(f"What happens next: {desk.task.after_failure(desk)}")
    named = str(error) if isinstance(error, LockstepError) else f"{type(error).__name__}: {error}"
    return [*lines, f"Error: {named}", RULE]


def _where(desk: Desk) -> str:
    """Say what was being done; the task's id where even that cannot be said."""
    with suppress(Exception):
        return desk.task.where(desk)
    return desk.task.task_id


def _known_run(desk: Desk) -> str | None:
    """Return the ledger's run if this task got as far as to know it."""
    return desk.task.ledger_run


def _how_far(desk: Desk) -> list[str]:
    """Say what the step's shards did, as far as the ledger can be asked."""
    run_id = _known_run(desk)
    if run_id is None or desk.step is None:
        return []
    lines: list[str] = []
    with suppress(Exception):
        for shard in desk.services.ledger.shards(run_id, desk.step_phase):
            if shard.step == desk.step:
                done = shard.progress
                lines.append(
                    f"How far: shard {shard.shard + 1} ({shard.label}) is {shard.state}, {done.batches} batch(es) "
                    f"committed, {done.read} record(s) read, {done.written} written"
                )
    return lines


def _record(error: Exception) -> list[str]:
    if not isinstance(error, LockstepError):
        return []
    keys = error.fields.get("keys")
    named = error.fields.get("key") or (", ".join(map(str, keys[:5])) if keys else None)
    return [f"Record: {named}"] if named else []


def _backups(desk: Desk) -> list[str]:
    run_id = _known_run(desk)
    if run_id is None:
        return []
    with suppress(Exception):
        taken = desk.services.ledger.backups(run_id)
        lines = [f"Backup: {desk.services.vault.uri(manifest.path)}" for manifest in taken]
        if lines:
            # A form that names no environment means another one, where there are several.
            where = f" and environment = {desk.services.environment.name!r}" if desk.task.pages else ""
            lines.append(f"To put it back: trigger the DAG restore with backup = {run_id!r}{where}")
        return lines
    return []


def _keep(desk: Desk, error: Exception) -> None:
    """Leave the error where the tasks after this one and the ledger find it, as far as possible."""
    from lockstep.orchestration import calls

    run_id = _known_run(desk)
    if run_id is not None:
        with suppress(Exception):
            calls.note_failure(desk.services, run_id, _where(desk), error)
    with suppress(Exception):
        desk.ti.xcom_push(key=ERROR, value=str(error))
