"""Every way a run can end, as Airflow sees it: the state of each task, and of the run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_engine import ScriptedEngine

from lockstep.domain.errors import DataError, Refused, VerificationFailed
from lockstep.domain.quarantine import Quarantined
from lockstep.domain.status import RunStatus

BROKEN = DataError("record 'x' cannot be carried")
SHARD = ("shard", "upgrade", 2, 1)
OP_1 = "upgrade.op_1_sql_outside_transaction_users"
OP_2 = "upgrade.op_2_transform_documents_submissions"
OP_3 = "upgrade.op_3_transform_objects_uploads"
STEP_1 = "downgrade.step_1_restore_uploads"
STEP_2 = "downgrade.step_2_restore_submissions"
STEP_3 = "downgrade.step_3_sql_outside_transaction_users"
BACKUPS = ("backup.campus_auth", "backup.campus_documents", "backup.campus_objects")
UPGRADE = (OP_1, f"{OP_2}.plan_shards", f"{OP_2}.shard", f"{OP_3}.plan_shards", f"{OP_3}.shard")
WAY_DOWN = (
    f"{STEP_1}.plan_shards",
    f"{STEP_1}.shard",
    f"{STEP_2}.plan_shards",
    f"{STEP_2}.shard",
    STEP_3,
    "verify_restored",
)
#: what a run leaves out that keeps what it did
FAILURE_BRANCH = ("downgrade.ask", "downgrade.decide", *WAY_DOWN, "put_back")


class Ended:
    """A DAG run that has ended."""

    def __init__(self, dag_run: Any) -> None:
        self.state = str(dag_run.state)
        self.dag_run = dag_run
        self.tasks: dict[str, set[str]] = {}
        for instance in dag_run.get_task_instances():
            self.tasks.setdefault(instance.task_id, set()).add(str(instance.state))

    def all(self, *tasks: str) -> set[str]:
        """Return the states of these tasks together."""
        return set().union(*(self.tasks[task] for task in tasks))

    def left(self, task: str, key: str) -> Any:
        """Return what a task left behind for others."""
        return self.dag_run.get_task_instance(task).xcom_pull(task_ids=task, key=key)

    def one(self, task: str) -> str:
        (state,) = self.tasks[task]
        return state


def run(project: Path, stem: str = "0002_three_stores", **conf: Any) -> Ended:
    """Run a revision's DAG to its end."""
    from airflow.sdk import timezone

    from lockstep.orchestration.factory import build_revision_dags
    from lockstep.orchestration.project import prefer_include

    prefer_include(str(project / "dags" / "revisions.py"))
    dag = build_revision_dags(project / "migrations")[f"revision_{stem}"]
    return Ended(dag.test(logical_date=timezone.utcnow(), run_conf=conf or None))


def test_an_upgrade_is_green_and_takes_nothing_back(home_project: Path, engine: ScriptedEngine) -> None:
    ended = run(home_project)

    assert ended.state == "success"
    assert ended.all("open_run", *BACKUPS, "backup.prove", *UPGRADE, "settle", "verify") == {"success"}
    assert ended.all(*FAILURE_BRANCH) == {"skipped"}
    assert ended.all("record", "emit", "outcome") == {"success"}
    assert ("shard", "upgrade", 3, 1) in engine.asked


def test_a_refused_run_is_red_and_starts_nothing(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails["open_run",] = Refused("revision '0001' comes first")

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.one("open_run") == "failed"
    assert ended.all(*BACKUPS, "backup.prove", *UPGRADE) == {"upstream_failed"}
    assert ended.one("settle") == "success"
    assert ended.all("verify", *FAILURE_BRANCH, "record", "emit") == {"skipped"}
    assert ended.one("outcome") == "failed"
    assert engine.asked == [("open_run",)]


def test_a_refused_run_says_why_in_its_outcome(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails["open_run",] = Refused("revision '0001' comes first")

    ended = run(home_project)

    assert ended.left("outcome", "error") == "revision '0001' comes first"


def test_a_downgrade_that_would_lose_data_is_red_and_opens_no_run(
    home_project: Path, engine: ScriptedEngine
) -> None:
    engine.fails["check_way_down", "0002"] = Refused("a downgrade now would lose data for good")

    ended = run(home_project, direction="downgrade")

    assert ended.one("open_run") == "failed"
    assert ended.left("outcome", "error") == "a downgrade now would lose data for good"
    assert engine.asked == [("check_way_down", "0002")]


def test_only_a_downgrade_is_asked_what_it_would_lose(home_project: Path, engine: ScriptedEngine) -> None:
    run(home_project)
    assert not [place for place in engine.asked if place[0] == "check_way_down"]


@pytest.mark.parametrize("conn_id", ["campus_auth", "campus_objects"])
def test_a_failed_backup_stops_the_run_before_any_step(
    home_project: Path, engine: ScriptedEngine, conn_id: str
) -> None:
    engine.fails["take_backup", conn_id] = DataError("disk full")

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.one(f"backup.{conn_id}") == "failed"
    assert ended.all("backup.prove", *UPGRADE) == {"upstream_failed"}
    assert ended.all("verify", *FAILURE_BRANCH) == {"skipped"}
    assert ended.all("settle", "record", "emit") == {"success"}
    assert ended.one("outcome") == "failed"
    assert not [place for place in engine.asked if place[0] in ("plan", "shard", "atomic")]


def test_backups_that_are_not_proven_stop_the_run_before_any_step(
    home_project: Path, engine: ScriptedEngine
) -> None:
    engine.fails["prove_backups",] = DataError("SHA-256 differs")

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.all(*BACKUPS) == {"success"}
    assert ended.all(*UPGRADE) == {"upstream_failed"}
    assert ended.all(*WAY_DOWN) == {"skipped"}
    assert ended.one("record") == "success"


def test_a_failed_plan_is_taken_back(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails["plan", "upgrade", 2] = DataError("no key")

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.one(OP_1) == "success"
    assert ended.one(f"{OP_2}.plan_shards") == "failed"
    assert ended.all(f"{OP_2}.shard", f"{OP_3}.plan_shards", f"{OP_3}.shard") == {"upstream_failed"}
    assert ended.one("settle") == "failed"
    assert ended.all("downgrade.ask", "downgrade.decide", *WAY_DOWN, "record", "emit") == {"success"}
    assert ended.one("put_back") == "skipped"
    assert ended.one("outcome") == "failed"


def test_a_failed_shard_is_taken_back_in_reverse(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails[SHARD] = BROKEN

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.tasks[f"{OP_2}.shard"] == {"success", "failed"}
    assert ended.all(f"{OP_3}.plan_shards", f"{OP_3}.shard") == {"upstream_failed"}
    assert ended.all("settle", "outcome") == {"failed"}
    assert ended.one("verify") == "upstream_failed"
    assert ended.all(*WAY_DOWN, "record", "emit") == {"success"}
    undone = [place[2] for place in engine.asked if place[:2] == ("shard", "undo")]
    assert undone == sorted(undone, reverse=True)
    assert set(undone) == {1, 2, 3}
    assert len(engine.noted) == 3


def test_nothing_is_taken_back_before_every_shard_has_stopped(
    home_project: Path, engine: ScriptedEngine
) -> None:
    engine.fails["shard", "upgrade", 2, 0] = BROKEN

    run(home_project)

    last_shard = engine.asked.index(SHARD)
    assert last_shard < engine.asked.index(("settle", "upgrade")) < engine.asked.index(("way_down",))


def test_a_failed_verification_is_taken_back(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails["verify",] = VerificationFailed("3 records are not stamped")

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.all(*UPGRADE, "settle") == {"success"}
    assert ended.one("verify") == "failed"
    assert ended.all(*WAY_DOWN, "record", "emit") == {"success"}
    assert ended.one("outcome") == "failed"


def test_what_cannot_be_taken_back_ends_as_failed(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails[SHARD] = BROKEN
    engine.fails["shard", "undo", 3, 0] = BROKEN

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.tasks[f"{STEP_1}.shard"] == {"success", "failed"}
    assert ended.all(f"{STEP_2}.plan_shards", f"{STEP_2}.shard", STEP_3) == {"upstream_failed"}
    assert ended.one("verify_restored") == "failed"
    assert ended.all("record", "emit") == {"success"}
    (kept,) = engine.runs.values()
    assert kept.status is RunStatus.FAILED


def test_data_that_differs_after_the_undo_ends_as_failed(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails[SHARD] = BROKEN
    engine.fails["verify_restored",] = DataError("submissions: its content differs")

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.one("verify_restored") == "failed"
    assert ended.all("record", "emit") == {"success"}
    (kept,) = engine.runs.values()
    assert kept.status is RunStatus.FAILED


def test_a_failed_decision_takes_nothing_back_and_is_red(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails[SHARD] = BROKEN
    engine.fails["way_down",] = DataError("the ledger is unreadable")

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.one("downgrade.decide") == "failed"
    assert ended.all(*(set(WAY_DOWN) - {"verify_restored"})) == {"upstream_failed"}
    assert not [place for place in engine.asked if place[:2] == ("shard", "undo")]
    assert ended.one("outcome") == "failed"


def test_a_run_that_cannot_be_recorded_is_red(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails["record",] = DataError("the ledger is unreadable")

    ended = run(home_project)

    assert ended.state == "failed"
    assert ended.all("record", "outcome") == {"failed"}
    assert ended.one("emit") == "upstream_failed"


def test_events_that_cannot_be_delivered_do_not_make_the_run_red(
    home_project: Path, engine: ScriptedEngine
) -> None:
    engine.fails["emit",] = DataError("Yapper is gone")

    ended = run(home_project)

    assert ended.state == "success"
    assert ended.one("emit") == "failed"
    assert ended.one("outcome") == "success"


def test_on_failure_leave_takes_nothing_back(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails[SHARD] = BROKEN

    ended = run(home_project, on_failure="leave")

    assert ended.state == "failed"
    assert ended.all(*WAY_DOWN, "put_back") == {"skipped"}
    assert ended.all("record", "emit") == {"success"}


def test_on_failure_restore_puts_the_backups_back_and_takes_nothing_back_step_by_step(
    home_project: Path, engine: ScriptedEngine
) -> None:
    engine.fails[SHARD] = BROKEN

    ended = run(home_project, on_failure="restore")

    assert ended.state == "failed"
    assert ended.all(*WAY_DOWN) == {"skipped"}
    assert ended.all("downgrade.decide", "put_back", "record", "emit") == {"success"}
    assert ("put_back",) in engine.asked
    assert not [place for place in engine.asked if place[:2] == ("shard", "undo")]
    (kept,) = engine.runs.values()
    assert kept.status is RunStatus.ROLLED_BACK


def test_on_undo_failure_restore_puts_the_backups_back_once_the_undo_has_failed(
    home_project: Path, engine: ScriptedEngine
) -> None:
    engine.fails[SHARD] = BROKEN
    engine.fails["shard", "undo", 3, 0] = BROKEN

    ended = run(home_project, on_undo_failure="restore")

    assert ended.one("verify_restored") == "failed"
    assert ended.one("put_back") == "success"
    (kept,) = engine.runs.values()
    assert kept.status is RunStatus.ROLLED_BACK


def test_backups_that_cannot_be_put_back_end_as_failed(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails[SHARD] = BROKEN
    engine.fails["put_back",] = DataError("the backup is not what it was")

    ended = run(home_project, on_failure="restore")

    assert ended.one("put_back") == "failed"
    assert ended.all("record", "emit") == {"success"}
    assert ended.one("outcome") == "failed"
    (kept,) = engine.runs.values()
    assert kept.status is RunStatus.FAILED


def test_an_upgrade_with_records_in_quarantine_is_green_and_says_how_to_try_them_again(
    home_project: Path, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockstep.orchestration.logs import TaskLog

    said: list[str] = []
    monkeypatch.setattr(TaskLog, "warning", lambda self, event, **fields: said.append(event))
    record = Quarantined(key="k", shown="uid-7", error="no such course")
    engine.quarantined = [SimpleNamespace(record=record, resource="users", resolved_by=None)]

    ended = run(home_project)

    assert ended.state == "success"
    assert said[0] == "in quarantine: users, record uid-7: no such course"
    assert said[1].startswith("1 record(s) are left as they were.")
    assert "trigger the DAG revision_0002_three_stores with redrive = true" in said[1]


def test_nothing_to_do_skips_to_a_green_outcome(home_project: Path, engine: ScriptedEngine) -> None:
    engine.opens_as = RunStatus.NOTHING_TO_DO

    ended = run(home_project)

    assert ended.state == "success"
    assert {task for task, states in ended.tasks.items() if states == {"success"}} == {"open_run", "outcome"}
    assert engine.asked == [("open_run",), ("outcome",)]


def test_a_downgrade_leaves_the_upgrade_out(home_project: Path, engine: ScriptedEngine) -> None:
    ended = run(home_project, direction="downgrade")

    assert ended.state == "success"
    assert ended.all(*UPGRADE, "settle", "verify", "downgrade.ask", "put_back") == {"skipped"}
    assert ended.all(*BACKUPS, "backup.prove", "downgrade.decide") == {"success"}
    assert ended.all(f"{STEP_1}.shard", f"{STEP_2}.shard", "verify_restored") == {"success"}
    assert ended.one(STEP_3) == "skipped"
    assert [place[2] for place in engine.asked if place[:2] == ("shard", "downgrade")] == [1, 2]


def test_a_downgrade_that_fails_is_red_and_failed(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails["plan", "downgrade", 1] = BROKEN

    ended = run(home_project, direction="downgrade")

    assert ended.state == "failed"
    assert ended.one("verify_restored") == "failed"
    (kept,) = engine.runs.values()
    assert kept.status is RunStatus.FAILED


def test_a_downgrade_without_a_proven_backup_changes_nothing(
    home_project: Path, engine: ScriptedEngine
) -> None:
    engine.fails["prove_backups",] = DataError("SHA-256 differs")

    ended = run(home_project, direction="downgrade")

    assert ended.state == "failed"
    assert ended.all(*UPGRADE) == {"upstream_failed"}
    assert ended.all(*WAY_DOWN) == {"skipped"}
    assert ended.one("record") == "success"
    assert not [place for place in engine.asked if place[0] in ("plan", "shard", "atomic")]


def test_an_atomic_revision_is_one_task_each_way(home_project: Path, engine: ScriptedEngine) -> None:
    ended = run(home_project, "0001_accounts")

    assert ended.state == "success"
    assert ended.one("upgrade.in_one_transaction") == "success"
    assert ended.all("downgrade.in_one_transaction", "verify_restored") == {"skipped"}
    assert ("atomic", "upgrade") in engine.asked


def test_an_atomic_revision_is_taken_back_as_one(home_project: Path, engine: ScriptedEngine) -> None:
    engine.fails["verify",] = VerificationFailed("it is not there")

    ended = run(home_project, "0001_accounts")

    assert ended.state == "failed"
    assert ended.all("downgrade.in_one_transaction", "verify_restored") == {"success"}
    assert ("atomic", "undo") in engine.asked


def test_an_unknown_parameter_is_refused_before_anything(home_project: Path, engine: ScriptedEngine) -> None:
    ended = run(home_project, batchrows=5)

    assert ended.state == "failed"
    assert ended.one("open_run") == "failed"
    assert engine.asked == []


@pytest.mark.parametrize(
    "conf", [{"window": "at night"}, {"window": "01:00-05:00 Asia/Singapour"}, {"target": "head"}]
)
def test_what_the_form_cannot_refuse_is_refused_before_anything(
    home_project: Path, engine: ScriptedEngine, conf: dict[str, Any]
) -> None:
    ended = run(home_project, **conf)

    assert ended.one("open_run") == "failed"
    assert str(next(iter(conf.values()))).split()[-1] in ended.left("open_run", "error") or "target" in conf
    assert engine.asked == []


def test_the_form_reaches_the_engine(home_project: Path, engine: ScriptedEngine) -> None:
    run(home_project, "0003_rows", shards=7, note="TICKET-1")

    assert engine.params["shards"] == 7
    assert engine.params["note"] == "TICKET-1"
    assert engine.params["direction"] == "upgrade"
