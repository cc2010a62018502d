"""The DAG `housekeeping`: its shape, its form, its schedule, and every way that it can end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_engine import ScriptedEngine

from lockstep.domain.errors import DataError, Refused
from lockstep.engine.housekeeping.found import Found

CONCERNS = {
    "remove_backups",
    "find_strangers",
    "drop_scratch_spaces",
    "tidy_leases",
    "read_backups",
    "remove_parked",
    "find_drift",
    "audit_history",
}


@dataclass
class Chores:
    """Stands in for `lockstep.orchestration.chores`; what it is asked is kept."""

    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    finds: dict[str, Found] = field(default_factory=dict)
    fails: dict[str, Exception] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name in ("Retention", "Sample"):
            return lambda **given: SimpleNamespace(**given)

        def chore(services: Any, *given: Any, **more: Any) -> Found:
            self.asked[name] = {"given": given, **more}
            if name in self.fails:
                raise self.fails[name]
            return self.finds.get(name, Found())

        return chore

    def databases_of(self, chain: Any) -> list[Any]:
        return sorted({d for r in chain.revisions for d in r.databases}, key=lambda d: str(d.conn_id))


@pytest.fixture
def chores(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> Chores:
    import sys

    import lockstep.orchestration as package
    import lockstep.orchestration.chores  # noqa: F401

    made = Chores()
    monkeypatch.setattr(package, "chores", made)
    monkeypatch.setitem(sys.modules, "lockstep.orchestration.chores", made)
    return made


def build(project: Path) -> Any:
    from lockstep.orchestration.housekeeping import build_housekeeping
    from lockstep.orchestration.project import prefer_include

    prefer_include(str(project / "dags" / "housekeeping.py"))
    return build_housekeeping(project / "migrations")


class Ended:
    """A run that has ended."""

    def __init__(self, project: Path, **conf: Any) -> None:
        from airflow.sdk import timezone as airflow_time

        dag_run = build(project).test(logical_date=airflow_time.utcnow(), run_conf=conf or None)
        self.dag_run = dag_run
        self.state = str(dag_run.state)
        self.tasks = {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}

    def left(self, task: str, key: str = "return_value") -> Any:
        return self.dag_run.get_task_instance(task).xcom_pull(task_ids=task, key=key)


def test_the_concerns_wait_for_nobody_and_the_outcome_for_all_of_them(project: Path) -> None:
    dag = build(project)
    assert {task.task_id for task in dag.roots} == CONCERNS
    assert [task.task_id for task in dag.leaves] == ["outcome"]
    outcome = dag.task_dict["outcome"]
    assert outcome.upstream_task_ids == CONCERNS
    assert outcome.trigger_rule.value == "all_done"


def test_airflow_finds_it_in_its_file(project: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(project / "dags" / "housekeeping.py"))
    assert bag.import_errors == {}
    assert list(bag.dags) == ["housekeeping"]


def test_it_runs_only_when_asked_unless_the_environment_names_a_schedule(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization
    from airflow.timetables.base import TimeRestriction

    assert not build(project).timetable.can_be_scheduled
    monkeypatch.setenv("LOCKSTEP_HOUSEKEEPING_SCHEDULE", "0 3 * * *")
    timetable = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(build(project))).timetable
    never_ran = TimeRestriction(earliest=None, latest=None, catchup=False)
    following = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=never_ran)
    assert following is not None
    assert (following.run_after.hour, following.run_after.minute) == (3, 0)
    assert following.run_after > datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_the_environment_changes_the_defaults_and_an_unknown_one_is_an_import_error(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCKSTEP_HOUSEKEEPING_DEFAULTS", '{"keep_days": 90, "ignore_drift": ["table x"]}')
    params = build(project).params
    assert (params["keep_days"], params["ignore_drift"], params["keep_last"]) == (90, ["table x"], 3)
    monkeypatch.setenv("LOCKSTEP_HOUSEKEEPING_DEFAULTS", '{"keep_day": 90}')
    with pytest.raises(Refused, match="'keep_day'"):
        build(project)
    monkeypatch.setenv("LOCKSTEP_HOUSEKEEPING_DEFAULTS", "keep_days=90")
    with pytest.raises(Refused, match="is no JSON"):
        build(project)


def test_every_parameter_has_a_title_and_help(project: Path) -> None:
    params = build(project).params
    for name in params:
        schema = params.get_param(name).schema
        assert schema["title"]
        assert schema["description_md"]


def test_with_nothing_wrong_it_is_green_and_tells_what_was_done(home_project: Path, chores: Chores) -> None:
    chores.finds["remove_backups"] = Found(done=("removed the backup of campus_auth",), facts={"removed": 1})
    chores.finds["find_drift"] = Found(done=("campus_auth: table users is changed",))

    ended = Ended(home_project, keep_last=5, keep_days=7, parked_days=14, check_percent=25)

    assert ended.state == "success"
    result = ended.left("outcome")
    assert result["problems"] == 0
    assert result["remove_backups"]["removed"] == 1
    assert result["find_drift"]["done"] == ["campus_auth: table users is changed"]
    assert set(chores.asked) == {*CONCERNS, "drop_orphans", "remove_copies"} - {"drop_scratch_spaces"}
    (retention,) = chores.asked["remove_backups"]["given"]
    assert (retention.last, retention.days) == (5, 7)
    (sample,) = chores.asked["read_backups"]["given"]
    assert (sample.percent, sample.small) == (25, 64 * 1024)
    assert chores.asked["remove_parked"]["days"] == 14
    assert [one.conn_id for one in chores.asked["find_drift"]["given"][0]] == [
        "campus_auth",
        "campus_documents",
        "campus_objects",
    ]
    assert [one.conn_id for one in chores.asked["drop_orphans"]["given"][0]][-1] == "lockstep_ledger"


def test_a_problem_makes_the_outcome_red_and_nothing_else(home_project: Path, chores: Chores) -> None:
    chores.finds["read_backups"] = Found(problems=("the backup of campus_auth cannot be relied on",))

    ended = Ended(home_project)

    assert ended.state == "failed"
    assert ended.tasks == dict.fromkeys(CONCERNS, "success") | {"outcome": "failed"}
    assert "the backup of campus_auth cannot be relied on" in ended.left("outcome", "error")
    assert ended.left("outcome")["problems"] == 1


def test_a_concern_that_fails_leaves_the_others_to_go_on(home_project: Path, chores: Chores) -> None:
    chores.fails["remove_parked"] = DataError("the column is gone")

    ended = Ended(home_project)

    assert ended.state == "failed"
    assert ended.tasks["remove_parked"] == "failed"
    assert {ended.tasks[name] for name in CONCERNS - {"remove_parked"}} == {"success"}
    assert "remove_parked is failed: the column is gone" in ended.left("outcome", "error")


def test_a_dry_run_reaches_every_concern(home_project: Path, chores: Chores) -> None:
    ended = Ended(home_project, dry_run=True)

    assert ended.state == "success"
    assert {name: given["dry_run"] for name, given in chores.asked.items()} == dict.fromkeys(
        chores.asked, True
    )
    assert len(chores.asked) == len(CONCERNS) + 1
    assert ended.left("outcome")["dry_run"] is True


def test_a_parameter_that_there_is_not_stops_every_concern(home_project: Path, chores: Chores) -> None:
    ended = Ended(home_project, dryrun=True)

    assert set(ended.tasks.values()) == {"failed"}
    assert chores.asked == {}
    assert "'dryrun'" in ended.left("outcome", "error")


def test_what_a_task_writes_into_the_history_says_which_task_it_was(
    home_project: Path, chores: Chores
) -> None:
    from lockstep.orchestration.surroundings import surroundings

    told: dict[str, Any] = {}

    def audit_history(services: Any, **more: Any) -> Found:
        told.update(surroundings().facts())
        return Found()

    vars(chores)["audit_history"] = audit_history
    run_id = Ended(home_project).dag_run.run_id
    assert told["task"].startswith(f"housekeeping / {run_id} / audit_history, try ")
    assert "/dags/housekeeping/runs/" in told["log_url"]
    assert "/tasks/audit_history" in told["log_url"]
    assert {"airflow", "lockstep", "python"} <= set(told["versions"])
