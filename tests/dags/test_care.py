"""The DAGs baseline, repair and accept_checksum: a plan that only reads, then the decision, and nothing in a dry run."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_engine import ScriptedEngine
from test_states import Ended

from lockstep.domain.errors import Refused
from lockstep.domain.status import Status
from lockstep.engine.accepting import Edit
from lockstep.engine.baselining import Adoption
from lockstep.engine.repairing import Repair

NEW = "b" * 64
EDIT = Edit(
    revision="0001",
    file="migrations/0001.py",
    before="a" * 64,
    after=NEW,
    diff=("-old", "+new"),
    differs=(),
)
ADOPTION = Adoption(target="0002", revisions={"0001": "c1", "0002": "c2"}, unverified=("0001",))
REPAIR = Repair(
    revision="0001",
    becomes=Status.ROLLED_BACK,
    now=Status.FAILED,
    run="0001-up-1",
    warnings=("1 batch(es) may have been written",),
)


class Care:
    """Stands in for the engine: what it is asked is kept."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.opened: list[dict[str, Any]] = []
        self.fails: dict[str, Exception] = {}

    def answers(self, name: str, answer: Any) -> Any:
        def asked(*given: Any, **more: Any) -> Any:
            self.asked.append((name, more if name.startswith("plan") else (given[2], more)))
            if name in self.fails:
                raise self.fails[name]
            return answer

        return asked

    def services_for(self, params: Any, log: Any, told: Any = None) -> Any:
        self.opened.append(dict(params))
        ledger = SimpleNamespace(check=dict, revisions=dict)
        return SimpleNamespace(ledger=ledger, log=log)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.asked]


@pytest.fixture
def care(monkeypatch: pytest.MonkeyPatch, engine: ScriptedEngine) -> Care:
    from lockstep.engine import accepting, baselining, repairing

    made = Care()
    monkeypatch.setattr(engine, "services_for", made.services_for)
    run = SimpleNamespace(
        id="run-1", revision="0001", facts={"outcome": "rolled_back", "was": "failed", "ended": "0001-up-1"}
    )
    monkeypatch.setattr(baselining, "plan_baseline", made.answers("plan", ADOPTION))
    monkeypatch.setattr(baselining, "adopt", made.answers("adopt", [run]))
    monkeypatch.setattr(repairing, "plan_repair", made.answers("plan", REPAIR))
    monkeypatch.setattr(repairing, "repair", made.answers("settle", run))
    monkeypatch.setattr(accepting, "plan_acceptance", made.answers("plan", EDIT))
    monkeypatch.setattr(accepting, "accept", made.answers("accept", run))
    return made


def run(project: Path, dag_id: str, **conf: Any) -> Ended:
    from airflow.sdk import timezone

    from lockstep.orchestration import care
    from lockstep.orchestration.project import prefer_include

    prefer_include(str(project / "dags" / f"{dag_id}.py"))
    dag = getattr(care, f"build_{dag_id}")(project / "migrations")
    return Ended(dag.test(logical_date=timezone.utcnow(), run_conf=conf or None))


GIVEN: dict[str, dict[str, Any]] = {
    "baseline": {"target": "0002", "reason": "restored", "unverified": "0001, 0002"},
    "repair": {"outcome": "rolled_back", "reason": "mended"},
    "accept_checksum": {"revision": "0001", "checksum": NEW[:12], "reason": "a typo"},
}
DECIDES = {"baseline": "adopt", "repair": "settle", "accept_checksum": "accept"}


@pytest.mark.parametrize("dag_id", GIVEN)
def test_what_was_planned_is_what_is_decided(home_project: Path, care: Care, dag_id: str) -> None:
    ended = run(home_project, dag_id, **GIVEN[dag_id])

    assert ended.state == "success"
    assert care.names == ["plan", DECIDES[dag_id]]
    planned, more = care.asked[1][1]
    assert planned == {"baseline": ADOPTION, "repair": REPAIR, "accept_checksum": EDIT}[dag_id]
    assert more["reason"] == GIVEN[dag_id]["reason"]
    assert more["caller"].dag_id == dag_id
    # The plan's services can write nothing, those of the decision can.
    assert [bool(params["dry_run"]) for params in care.opened] == [True, False]


@pytest.mark.parametrize("dag_id", GIVEN)
def test_a_dry_run_decides_nothing_and_leaves_its_plan(home_project: Path, care: Care, dag_id: str) -> None:
    ended = run(home_project, dag_id, **GIVEN[dag_id], dry_run=True)

    assert ended.state == "success"
    assert (ended.one("plan"), ended.one(DECIDES[dag_id])) == ("success", "skipped")
    assert care.names == ["plan"]
    assert ended.left("plan", "return_value")["plan"]["lines"]


@pytest.mark.parametrize("dag_id", GIVEN)
def test_what_is_refused_is_red_and_decides_nothing(home_project: Path, care: Care, dag_id: str) -> None:
    care.fails["plan"] = Refused("not so")

    ended = run(home_project, dag_id, **GIVEN[dag_id])

    assert (ended.state, ended.one("plan")) == ("failed", "failed")
    assert ended.one(DECIDES[dag_id]) == "upstream_failed"


def test_a_checksum_of_what_nobody_saw_is_refused(home_project: Path, care: Care) -> None:
    ended = run(home_project, "accept_checksum", revision="0001", reason="a typo")

    assert ended.state == "failed"
    assert "first 12 characters" in ended.left("plan", "error")
    assert care.names == ["plan"]


def test_a_word_that_is_no_parameter_is_refused(home_project: Path, care: Care) -> None:
    ended = run(home_project, "repair", **GIVEN["repair"], dryrun=True)

    assert ended.state == "failed"
    assert "'dryrun', which is no parameter" in ended.left("plan", "error")
    assert care.asked == []


def test_revisions_that_are_not_asked_are_listed_with_commas(home_project: Path, care: Care) -> None:
    run(home_project, "baseline", **GIVEN["baseline"])

    assert care.asked[0][1]["unverified"] == ("0001", "0002")
