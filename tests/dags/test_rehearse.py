"""The DAG rehearse: its shape, its form, what each task does with the engine, and the pages of reports."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest

from lockstep.domain.errors import Refused
from lockstep.domain.rehearsal import FRESH, Prediction, Rehearsal, Verdict
from lockstep.domain.run import Caller
from lockstep.web.app import create_app
from lockstep.web.asking import Asker
from lockstep.web.read import Reader

AT = datetime(2026, 1, 2, tzinfo=timezone.utc)
REPORT = {
    "format": 1,
    "rehearsal": "r1",
    "target": "0003",
    "verdict": "red",
    "why": "downgrade of 0003 <b>forgot</b>",
    "started_at": "2026-01-02",
    "asked_by": "ann",
    "dag_run": "rehearse/manual",
    "checksums": {},
}
BODY = json.dumps(REPORT).encode()
REHEARSAL = Rehearsal(
    id="r1",
    target="0003",
    caller=Caller(dag_id="rehearse", dag_run_id="manual", by="ann"),
    started_at=AT,
    ended_at=AT,
    verdict=Verdict.RED,
    revisions={"0003": "abc"},
    report_path="rehearsals/r1/report.json",
    report_sha256=hashlib.sha256(BODY).hexdigest(),
    predicted={"0003": Prediction(seconds=12.5, low=10, high=15)},
    facts={"why": "downgrade of 0003 forgot"},
)


def built(project: Path) -> Any:
    from lockstep.orchestration.project import prefer_include
    from lockstep.orchestration.rehearse import build_rehearse

    prefer_include(str(project / "dags" / "rehearse.py"))
    return build_rehearse(project / "migrations")


def test_its_tasks_follow_one_another_and_the_outcome_is_the_only_leaf(project: Path) -> None:
    dag = built(project)

    order = ["open", "back_up", "try_out", "report", "drop", "announce", "outcome"]
    assert [task.task_id for task in dag.topological_sort()] == order
    assert [task.task_id for task in dag.leaves] == ["outcome"]
    ends = {"report", "drop", "announce", "outcome"}
    assert {t.task_id for t in dag.tasks if t.trigger_rule.value == "all_done"} == ends
    assert dag.task_dict["back_up"].expand_input.value["database"].operator.task_id == "open"


def test_parsing_it_opens_no_driver(project: Path) -> None:
    code = (
        "import sys; sys.argv = ['x']; from pathlib import Path; "
        "from lockstep.orchestration.rehearse import build_rehearse; "
        f"build_rehearse(Path({str(project / 'migrations')!r})); "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'psycopg', 'pymongo', 'boto3'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_the_form_asks_for_what_a_rehearsal_needs(project: Path) -> None:
    from lockstep.orchestration.rehearse_params import asked_from

    params = built(project).params
    asked = asked_from({name: params[name] for name in params})

    assert params["target"] == "head"
    assert (asked.source, asked.sample, asked.samples, asked.keep, asked.whole) == (
        FRESH,
        100,
        10,
        False,
        True,
    )
    assert {
        "environment",
        "commit",
        "deployment_environment",
        "deployment",
        "shards",
        "batch_seconds",
        "proof",
    } <= set(params)
    # What a rehearsal decides itself is not asked for.
    assert not {"on_failure", "window", "direction", "redrive"} & set(params)
    for name in params:
        given = params.get_param(name)
        assert given.schema["title"], name
        assert given.description or given.schema.get("description_md"), name


@pytest.mark.parametrize("sample", [0, -1, 101])
def test_a_sample_that_is_none_is_refused(project: Path, sample: float) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    param = built(project).params.get_param("sample")
    with pytest.raises(ParamValidationError):
        param.resolve(sample)


@dataclass
class Desk:
    """What a task works with, without Airflow around it."""

    task: Any
    services: Any
    params: dict[str, Any] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)
    log: Any = None

    def __post_init__(self) -> None:
        from lockstep.orchestration.logs import TaskLog

        self.log = TaskLog()
        self.ti = self
        self.dag_id, self.run_id, self.map_index, self.try_number = "rehearse", "manual", -1, 1

    def xcom_pull(self, task_ids: str, key: str, **more: Any) -> Any:
        return self.told.get(task_ids)


@dataclass
class Ledger:
    kept: Rehearsal | None = REHEARSAL

    def rehearsal_of(self, dag_id: str, dag_run_id: str) -> Rehearsal | None:
        return self.kept if dag_run_id == "manual" else None

    def rehearsal(self, rehearsal_id: str) -> Rehearsal:
        if self.kept is None or rehearsal_id != self.kept.id:
            raise Refused(f"there is no rehearsal {rehearsal_id!r}")
        return self.kept

    def rehearsals(self, limit: int = 50) -> list[Rehearsal]:
        return [self.kept] if self.kept else []

    def comparisons(self, run_id: str | None = None) -> list[Any]:
        return []

    def change_rehearsal(self, rehearsal_id: str, **changes: Any) -> Rehearsal:
        assert self.kept is not None
        self.kept = replace(self.kept, **changes)
        return self.kept


@dataclass
class Announcer:
    name: str = "somebody"
    heard: list[Any] = field(default_factory=list)

    def send(self, news: Any, *, tried_before: bool) -> Any:
        from lockstep.domain.announcement import Sent

        self.heard.append(news)
        return Sent(said="told")


def task(kind: type[Any]) -> Any:
    return kind(task_id="t", path="")


def services(ledger: Ledger, announcer: Announcer | None = None) -> Any:
    from types import SimpleNamespace

    from lockstep.orchestration.logs import TaskLog

    return SimpleNamespace(
        ledger=ledger,
        log=TaskLog(),
        announcers=lambda: (announcer,) if announcer else (),
        vault=SimpleNamespace(uri=lambda path: f"s3://vault/{path}"),
    )


@pytest.mark.parametrize(
    ("verdict", "state"),
    [(Verdict.GREEN, "success"), (Verdict.RED, "failure"), (Verdict.STOPPED, "error")],
)
def test_whoever_waits_is_told_of_the_verdict(verdict: Verdict, state: str) -> None:
    from lockstep.orchestration.tasks.rehearse_end import AnnounceVerdict

    announcer = Announcer()
    ledger = Ledger(replace(REHEARSAL, verdict=verdict))
    task(AnnounceVerdict).work(Desk(task=None, services=services(ledger, announcer)))

    (news,) = announcer.heard
    assert (news.state, news.rehearsal.id) == (state, "r1")
    assert news.url.endswith("/lockstep/rehearsals/r1")
    if verdict is not Verdict.GREEN:
        assert "downgrade of 0003 forgot" in news.text


def test_the_outcome_is_green_only_for_a_green_verdict() -> None:
    from lockstep.domain.errors import NotAtTarget
    from lockstep.orchestration.tasks.rehearse_end import RehearsalOutcome

    outcome = task(RehearsalOutcome)
    with pytest.raises(NotAtTarget, match="is red") as told:
        outcome.work(Desk(task=None, services=services(Ledger())))
    assert "downgrade of 0003 forgot" in str(told.value)
    facts = outcome.work(
        Desk(task=None, services=services(Ledger(replace(REHEARSAL, verdict=Verdict.GREEN))))
    )
    assert facts["predicted_seconds"] == {"0003": 12.5}
    with pytest.raises(Refused, match="the chain is at head"):
        outcome.work(Desk(task=None, services=services(Ledger(None)), told={"open": "the chain is at head"}))


def test_no_field_of_a_log_line_has_a_name_that_ends_airflows_supervisor() -> None:
    import inspect

    from airflow.sdk.execution_time import supervisor
    from structlog.testing import capture_logs

    from lockstep.orchestration.logs import TaskLog

    taken = {*inspect.signature(supervisor._log_to_target).parameters} - {"event_kwargs", "kwargs", "event"}
    with capture_logs() as lines:
        TaskLog().error("done", **dict.fromkeys(("target", "level", "msg"), "head"))

    assert "target" in taken
    assert lines == [
        {"event": "done", "log_level": "error", "target_": "head", "level_": "head", "msg_": "head"}
    ]


def test_the_end_of_what_never_began_is_skipped() -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    from lockstep.orchestration.tasks.rehearse_end import AnnounceVerdict, DropScratch, EndRehearsal

    for kind in (EndRehearsal, DropScratch, AnnounceVerdict):
        with pytest.raises(AirflowSkipException):
            task(kind).work(Desk(task=None, services=services(Ledger(None))))


# --- the pages -------------------------------------------------------------------------------------


def asks(
    path: str, *, ledger: Ledger | None = None, body: bytes = BODY, html: bool = False, may: bool = True
) -> httpx.Response:
    def asker() -> Asker:
        return Asker(name="ann", may_read=lambda dag_id: may, may_start=lambda dag_id: False)

    kept: Callable[[str], bytes] = lambda path: body  # noqa: E731
    reader = Reader(ledger=lambda: ledger or Ledger(), uri=str, kept=kept)  # type: ignore[arg-type,return-value]
    transport = httpx.ASGITransport(app=create_app(reader, asker))

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers={"Accept": "text/html"} if html else {})

    return asyncio.run(ask())


def test_a_report_is_shown_as_it_was_written_and_to_whom_may_read_it() -> None:
    assert asks("/rehearsals/r1").json() == REPORT
    shown = asks("/rehearsals/r1", html=True)
    assert "Red: this must not go live" in shown.text
    assert "&lt;b&gt;forgot" in shown.text
    assert shown.headers["content-security-policy"].startswith("default-src 'none'")
    assert asks("/rehearsals/r1", may=False).status_code == 403
    assert asks("/rehearsals/r9").status_code == 404


def test_a_report_that_somebody_changed_is_not_shown() -> None:
    answer = asks("/rehearsals/r1", body=BODY.replace(b"red", b"green"))

    assert answer.status_code == 409
    assert "look who writes to the vault" in answer.text


def test_rehearsals_are_listed_and_found_by_their_dag_run() -> None:
    (row,) = asks("/rehearsals").json()
    assert (row["rehearsal"], row["verdict"], row["predicted seconds"]) == ("r1", "red", 12.5)
    assert asks("/rehearsals", may=False).json() == []
    listed = asks("/rehearsals", html=True).text
    assert "/rehearsals/r1" in listed
    found = asks("/dag-runs/rehearse/manual/rehearsal")
    assert (found.status_code, found.headers["location"]) == (307, "/rehearsals/r1")
    assert asks("/dag-runs/rehearse/other/rehearsal").status_code == 404


def test_one_that_goes_on_says_so() -> None:
    goes_on = Ledger(replace(REHEARSAL, verdict=None, report_path=None, report_sha256=None))

    assert asks("/rehearsals/r1", ledger=goes_on).json()["verdict"] == "goes on"
    assert "It goes on" in asks("/rehearsals/r1", ledger=goes_on, html=True).text
