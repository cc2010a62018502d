"""What a failed task leaves behind: its last words, and what Airflow is to do."""

from __future__ import annotations

from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from lockstep.domain.environment import Environment
from lockstep.domain.errors import ConflictError, DataError, RecordError, Unavailable
from lockstep.domain.progress import Manifest, Progress
from lockstep.domain.run import ShardState

SHARD = ShardState(
    step=2,
    shard=0,
    label="a to m",
    lower=None,
    upper=None,
    state="running",
    epoch=1,
    progress=Progress(batches=12, read=60_000, written=1_204),
)
MANIFEST = Manifest(
    run_id="run-1",
    conn_id="campus_auth",
    kind="table",
    path="backups/run-1/manifest.json",
    taken_at=datetime.now(timezone.utc),
    files=(),
)
RECORD = RecordError(resource="table users", key="uid-1", problem="it raised.", fix="mend it.")


def desk(try_number: int = 1, **ledger: Any) -> Any:
    """Return the desk of a task that got as far as to know its run."""
    kept: list[Any] = []
    given = {"shards": lambda run, phase: [SHARD], "backups": lambda run: [MANIFEST], **ledger}
    return SimpleNamespace(
        task=SimpleNamespace(
            ledger_run="run-1",
            pages="",
            task_id="upgrade.op_2.shard",
            where=lambda desk: "upgrade, step 2 of 3: shout() over every row of users",
            after_failure=lambda desk: "what was done is taken back.",
        ),
        ti=SimpleNamespace(
            try_number=try_number, max_tries=4, xcom_push=lambda **given: kept.append(given["value"])
        ),
        services=SimpleNamespace(
            ledger=SimpleNamespace(**given),
            vault=SimpleNamespace(uri=lambda path: f"s3://vault/{path}"),
            environment=Environment("production"),
        ),
        log=SimpleNamespace(warning=kept.append, error=kept.append, info=kept.append),
        step=2,
        step_phase="upgrade",
        kept=kept,
    )


def test_where_there_are_several_environments_the_last_words_name_theirs() -> None:
    from lockstep.orchestration.failures import last_words

    given = desk()
    given.task.pages = "/in/production"

    assert (
        "To put it back: trigger the DAG restore with backup = 'run-1' and environment = 'production'"
        in last_words(given, RECORD)
    )


def test_the_last_words_say_what_how_far_which_record_what_next_and_where_the_backup_is() -> None:
    from lockstep.orchestration.failures import last_words

    text = "\n".join(last_words(desk(), RECORD))

    for part in (
        "FAILED: upgrade, step 2 of 3: shout() over every row of users",
        "How far: shard 1 (a to m) is running, 12 batch(es) committed, 60000 record(s) read, 1204 written",
        "Record: uid-1",
        "Backup: s3://vault/backups/run-1/manifest.json",
        "To put it back: trigger the DAG restore with backup = 'run-1'",
        "What happens next: what was done is taken back.",
        "Error: table users, record 'uid-1': it raised.",
    ):
        assert part in text


def test_records_that_changed_under_the_run_are_named() -> None:
    from lockstep.orchestration.failures import last_words

    error = ConflictError(resource="table users", keys=("a", "b"), doing="transforming")

    assert "Record: a, b" in last_words(desk(), error)


def test_a_ledger_that_does_not_answer_does_not_hide_the_error() -> None:
    from lockstep.orchestration.failures import last_words

    def silent(*asked: Any) -> Any:
        raise Unavailable("the ledger does not answer")

    words = last_words(desk(shards=silent, backups=silent), RECORD)

    assert any(line.startswith("Error: table users") for line in words)


@pytest.mark.parametrize(
    ("error", "try_number", "again"),
    [
        (Unavailable("down"), 1, True),
        (Unavailable("down"), 4, True),
        (Unavailable("down"), 5, False),
        (DataError("bad record"), 1, False),
        (KeyError("a bug"), 1, False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, try_number: int, again: bool) -> None:
    from lockstep.orchestration.retries import will_retry

    assert will_retry(error, try_number, max_tries=4) is again


def test_what_is_tried_again_is_said_in_one_line_and_noted_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep.orchestration import calls
    from lockstep.orchestration.failures import failed

    noted: list[Any] = []
    monkeypatch.setattr(calls, "note_failure", lambda *given: noted.append(given))
    here, error = desk(), Unavailable("the database does not answer.")

    assert failed(here, error) is error
    assert len(here.kept) == 1
    assert "try 1 of 5 failed" in here.kept[0]
    assert noted == []


def test_what_ends_a_task_is_noted_and_left_for_whoever_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from lockstep.orchestration import calls
    from lockstep.orchestration.failures import failed

    noted: list[Any] = []
    monkeypatch.setattr(calls, "note_failure", lambda *given: noted.append(given[1:]))
    here = desk()

    raised = failed(here, RECORD)

    assert isinstance(raised, AirflowFailException)
    assert str(raised) == str(RECORD)
    assert noted == [("run-1", "upgrade, step 2 of 3: shout() over every row of users", RECORD)]
    assert here.kept[-1] == str(RECORD)
