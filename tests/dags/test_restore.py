"""The DAG restore: its shape, its form, the questions that it asks, and how each way ends in Airflow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_engine import ScriptedEngine
from test_states import Ended

from lockstep.domain.errors import DataError, NotAtTarget, Refused
from lockstep.domain.run import Caller, Run
from lockstep.domain.status import RunStatus

AT = datetime(2026, 1, 2, tzinfo=timezone.utc)
PLAN = SimpleNamespace(
    backup="0001-up-1",
    mark="m1",
    words=["Put back the backup of run 0001-up-1.", "  campus_auth: users"],
    records=5,
    empty=False,
    refuse=lambda: None,
)


def build(project: Path) -> Any:
    from lockstep.orchestration.project import prefer_include
    from lockstep.orchestration.restore import build_restore

    prefer_include(str(project / "dags" / "restore.py"))
    return build_restore(project / "migrations")


# --- shape and form ---------------------------------------------------------------------------------------


def test_the_tasks_stand_in_line_and_outcome_is_the_only_leaf(project: Path) -> None:
    dag = build(project)

    line = [
        "choose",
        "plan",
        "approve",
        "open_run",
        "back_up",
        "put_back",
        "record",
        "emit",
        "outcome",
    ]
    assert sorted(dag.task_dict) == sorted(line)
    for before, after in pairwise(line):
        # What a task is mapped over stands before it too.
        assert dag.task_dict[after].upstream_task_ids - {"open_run"} == {before} - {"open_run"}
    assert [task.task_id for task in dag.leaves] == ["outcome"]
    rules = {name: dag.task_dict[name].trigger_rule.value for name in line}
    assert {name for name, rule in rules.items() if rule == "all_done"} == {"record", "outcome"}
    assert dag.task_dict["back_up"].is_mapped
    assert dag.task_dict["put_back"].is_mapped
    assert (dag.schedule, dag.catchup) == (None, False)


def test_the_form_asks_by_default_and_reconciles(project: Path) -> None:
    params = build(project).params.dump()

    assert params == {
        "environment": "default",
        "dry_run": False,
        "backup": "",
        "resource": "",
        "into": "",
        "approve": "auto",
        "reconcile": True,
        "note": "",
    }


def test_the_dag_file_holds_the_dag(home_project: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(home_project / "dags" / "restore.py"))

    assert bag.import_errors == {}
    assert list(bag.dags) == ["restore"]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", {}),
        ("a=b", {"a": "b"}),
        (" a = b , c=d ", {"a": "b", "c": "d"}),
        ('{"a": "b"}', {"a": "b"}),
        ({"a": "b"}, {"a": "b"}),
    ],
)
def test_into_is_read_as_text_as_json_and_as_an_object(given: Any, meant: dict[str, str]) -> None:
    from lockstep.orchestration.restore_params import into_from

    assert into_from({"into": given}) == meant


@pytest.mark.parametrize("given", ["a", "a=", "=b", "{", '{"a": 5}', {"a": ""}])
def test_into_that_makes_no_sense_is_refused_with_an_example(given: Any) -> None:
    from lockstep.orchestration.restore_params import into_from

    with pytest.raises(Refused, match="campus_auth=campus_auth_copy"):
        into_from({"into": given})


# --- a whole run, over an engine that does what the test says -----------------------------------------------


@dataclass
class Restoring:
    """Stands in for the engine's restoring modules."""

    fails: dict[str, Exception] = field(default_factory=dict)
    plans: list[Any] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    run: Run | None = None
    wanted: dict[str, Any] = field(default_factory=dict)

    def reach(self, *place: Any) -> None:
        self.asked.append(place)
        if place[0] in self.fails:
            raise self.fails[place[0]]

    def plan_restore(self, services: Any, chain: Any, **wanted: Any) -> Any:
        self.reach("plan")
        self.wanted = wanted
        return self.plans.pop(0) if self.plans else PLAN

    def opened_before(self, services: Any, chain: Any, caller: Caller, backup: str) -> Run | None:
        return self.run

    def open_restore(self, services: Any, chain: Any, plan: Any, **given: Any) -> Run:
        self.reach("open", given["approved"])
        self.run = Run(
            id="0001-restore-1",
            revision="0001",
            direction="restore",
            status=RunStatus.OPEN,
            caller=given["caller"],
            checksum="c",
            started_at=AT,
            facts={"targets": [{"label": "campus_auth"}, {"label": "campus_documents"}]},
        )
        return self.run

    def back_up_overwritten(self, services: Any, run: Run, place: int) -> Any:
        self.reach("back_up", place)

    def restore_database(self, services: Any, run: Run, place: int) -> Any:
        self.reach("put_back", place)

    def end_restore(self, services: Any, chain: Any, run: Run) -> Run:
        self.reach("end")
        through = not {"back_up", "put_back"} & set(self.fails)
        self.run = replace(run, status=RunStatus.RESTORED if through else RunStatus.OPEN)
        return self.run

    def restore_outcome(self, services: Any, run: Run) -> Any:
        self.reach("outcome")
        assert self.run is not None
        if self.run.status is not RunStatus.RESTORED:
            raise NotAtTarget("the backup is not back")
        return {"status": "restored"}


@pytest.fixture
def restoring(monkeypatch: pytest.MonkeyPatch, engine: ScriptedEngine) -> Restoring:
    from lockstep.engine.restoring import ending, opening, overwritten, planning, putting

    scripted = Restoring()

    def current_run(services: Any, dag_id: str, dag_run_id: str) -> Run:
        if scripted.run is None:
            raise Refused("no run is open for this DAG run")
        return scripted.run

    monkeypatch.setattr(engine, "current_run", current_run)
    monkeypatch.setattr(planning, "plan_restore", scripted.plan_restore)
    monkeypatch.setattr(opening, "opened_before", scripted.opened_before)
    monkeypatch.setattr(opening, "open_restore", scripted.open_restore)
    monkeypatch.setattr(overwritten, "back_up_overwritten", scripted.back_up_overwritten)
    monkeypatch.setattr(putting, "restore_database", scripted.restore_database)
    monkeypatch.setattr(ending, "end_restore", scripted.end_restore)
    monkeypatch.setattr(ending, "restore_outcome", scripted.restore_outcome)
    return scripted


def run(project: Path, **conf: Any) -> Ended:
    from airflow.sdk import timezone as airflow_time

    dag = build(project)
    return Ended(dag.test(logical_date=airflow_time.utcnow(), run_conf=conf or None))


GIVEN = {"backup": "0001-up-1", "approve": "never"}


def test_a_restore_that_goes_well_is_green(home_project: Path, restoring: Restoring) -> None:
    ended = run(home_project, **GIVEN, resource="users, campus_api", into="campus_api=copy", reconcile=False)

    assert ended.state == "success"
    assert set().union(*ended.tasks.values()) == {"success"}
    assert restoring.wanted["backup"] == "0001-up-1"
    assert restoring.wanted["only"] == ("users", "campus_api")
    assert restoring.wanted["into"] == {"campus_api": "copy"}
    assert restoring.wanted["reconcile"] is False
    # Databases in any order, and nothing is put back before all of it is backed up.
    asked = [place for place in restoring.asked if place[0] in ("back_up", "put_back")]
    assert set(asked[:2]) == {("back_up", 0), ("back_up", 1)}
    assert set(asked[2:]) == {("put_back", 0), ("put_back", 1)}
    assert len(asked) == 4


def test_where_nothing_is_overwritten_nobody_is_asked(home_project: Path, restoring: Restoring) -> None:
    restoring.plans = [SimpleNamespace(**{**vars(PLAN), "empty": True}) for _ in range(2)]

    assert run(home_project, backup="0001-up-1").state == "success"


def test_a_refused_plan_is_red_and_nothing_is_opened(home_project: Path, restoring: Restoring) -> None:
    restoring.fails["plan"] = Refused("revision 0002 stands on it")

    ended = run(home_project, **GIVEN)

    assert ended.state == "failed"
    assert ended.one("plan") == "failed"
    assert ended.all("approve", "open_run", "back_up", "put_back") == {"upstream_failed"}
    assert ended.one("record") == "success"
    assert ended.one("emit") == "skipped"
    assert ended.left("outcome", "error") == "revision 0002 stands on it"


def test_a_plan_that_is_not_the_approved_one_any_more_is_refused(
    home_project: Path, restoring: Restoring
) -> None:
    restoring.plans = [PLAN, SimpleNamespace(**{**vars(PLAN), "mark": "m2"})]

    ended = run(home_project, **GIVEN)

    assert ended.one("open_run") == "failed"
    assert "not what was planned and approved any more" in ended.left("outcome", "error")
    assert ("open", {}) not in restoring.asked


@pytest.mark.parametrize("place", ["back_up", "put_back"])
def test_a_database_that_fails_is_red_and_recorded(
    home_project: Path, restoring: Restoring, place: str
) -> None:
    restoring.fails[place] = DataError("the disk is full")

    ended = run(home_project, **GIVEN)

    assert ended.state == "failed"
    assert ended.tasks[place] == {"failed"}
    assert ended.all("record", "emit") == {"success"}
    assert ended.one("outcome") == "failed"
    assert sorted(asked for asked in restoring.asked if asked[0] == "put_back") == (
        [("put_back", 0), ("put_back", 1)] if place == "put_back" else []
    )


def test_an_unknown_parameter_is_refused_before_anything(home_project: Path, restoring: Restoring) -> None:
    ended = run(home_project, **GIVEN, resources="users")

    assert ended.one("choose") == "failed"
    assert "'resources'" in ended.left("outcome", "error")
    assert restoring.asked == []
