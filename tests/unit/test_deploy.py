"""`lockstep deploy` against a small server on a real socket: its answers, and what it lives through."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from scripted_airflow import PASSWORD, ScriptedAirflow, served, task

from lockstep.cli import main
from lockstep.cli.deploying import doing, screen
from lockstep.stores.airflow import client

PLAN = [
    {"revision": "0001", "dag_id": "revision_0001_a", "direction": "upgrade", "description": "Add a."},
    {"revision": "0002", "dag_id": "revision_0002_b", "direction": "upgrade", "description": "Add b."},
]


@dataclass
class Deploy:
    airflow: ScriptedAirflow
    out: Any

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Run the command; return its exit status and all that it printed."""
        code = main(["deploy", "--patience", "5", "--contact", "5", *arguments])
        printed = self.out.readouterr()
        text = printed.out + printed.err
        assert PASSWORD not in text
        assert "token-" not in text
        return code, text


@pytest.fixture
def airflow() -> ScriptedAirflow:
    return ScriptedAirflow()


@pytest.fixture
def deploy(
    airflow: ScriptedAirflow,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Iterator[Deploy]:
    for name in ("GITHUB_SHA", "GITHUB_RUN_ID", "CI_COMMIT_SHA", "CI_PIPELINE_ID", "CI_PIPELINE_URL"):
        monkeypatch.delenv(name, raising=False)
    secret = tmp_path / "password"
    secret.write_text(f"{PASSWORD}\n")
    monkeypatch.setattr(doing, "EVERY", 0.01)
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(screen, "GENTLE", 0.0)
    with served(airflow) as address:
        monkeypatch.setenv("LOCKSTEP_AIRFLOW_URL", address)
        monkeypatch.setenv("LOCKSTEP_AIRFLOW_USERNAME", "deploy")
        monkeypatch.setenv("LOCKSTEP_AIRFLOW_PASSWORD_FILE", str(secret))
        yield Deploy(airflow, capsys)


def all_well(airflow: ScriptedAirflow, run_id: str) -> None:
    """Let a run of migrate and both revisions have ended well."""
    conf = airflow.runs["migrate", run_id]["conf"]
    airflow.add("migrate", run_id, "success", task("plan", "success"), task("follow", "success"), **conf)
    airflow.left[run_id, "plan", "return_value"] = PLAN
    for hop in PLAN:
        child = f"{run_id}__{hop['revision']}_up"
        airflow.add(hop["dag_id"], child, "success")
        airflow.left[child, "outcome", "return_value"] = {"status": "applied", "records": 1200}


ROLLED_BACK = {"run": {"status": "rolled_back"}, "shards": []}


def second_fails(airflow: ScriptedAirflow, run_id: str, said: dict[str, Any] | None = ROLLED_BACK) -> None:
    """Let the second revision have failed; `said` is what the ledger's page says of it, if it knows the run."""
    all_well(airflow, run_id)
    airflow.runs["migrate", run_id]["state"] = "failed"
    child = f"{run_id}__0002_up"
    shard = task("upgrade.op_1.shard", "failed", map_index=3, rendered_map_index="m … p")
    later = task("outcome", "failed", end_date="2031-05-01T10:00:09Z")
    airflow.add("revision_0002_b", child, "failed", later, shard, task("verify", "upstream_failed"))
    airflow.logs[child, "upgrade.op_1.shard"] = [f"line {number}" for number in range(50)]
    del airflow.left[child, "outcome", "return_value"]
    airflow.left[child, "outcome", "error"] = "record 'x' cannot be carried"
    if said is not None:
        airflow.entries["revision_0002_b", child] = said


def test_yes_with_a_line_for_each_revision(airflow: ScriptedAirflow, deploy: Deploy) -> None:
    airflow.on_start = lambda run: all_well(airflow, run["dag_run_id"])

    code, said = deploy("--key", "abc", "--environment", "staging", "--conf", "shards=3", "--note", "T-1")

    assert code == 0
    assert [line for line in said.splitlines() if line.startswith("✓")] == [
        "✓ 0001  applied           1,200 records      5.0 s  Add a.",
        "✓ 0002  applied           1,200 records      5.0 s  Add b.",
    ]
    assert "yes: the databases are at 'head' in staging; 2 revision(s) applied" in said
    assert airflow.runs["migrate", "deploy-abc"]["conf"] == {
        "target": "head",
        "environment": "staging",
        "shards": 3,
        "note": "T-1",
    }


def test_no_with_the_end_of_the_first_failed_tasks_log_and_the_state(
    airflow: ScriptedAirflow, deploy: Deploy
) -> None:
    airflow.on_start = lambda run: second_fails(airflow, run["dag_run_id"])

    code, said = deploy("--key", "abc", "--log-lines", "5")

    assert code == 1
    assert "✗ 0002  rolled_back" in said
    assert "revision_0002_b / upgrade.op_1.shard[m … p], try 1:" in said
    assert "line 45\n" in said
    assert "line 44\n" not in said
    assert "/dags/revision_0002_b/runs/deploy-abc__0002_up/tasks/upgrade.op_1.shard/mapped/3" in said
    assert "error: record 'x' cannot be carried" in said
    assert "What revision 0002 had done is undone" in said
    assert "the chain stands after 0001" in said


def test_a_plan_that_is_refused_shows_its_own_log(airflow: ScriptedAirflow, deploy: Deploy) -> None:
    def refused(run: dict[str, Any]) -> None:
        plan = task("plan", "failed")
        airflow.add("migrate", "deploy-abc", "failed", plan, task("follow", "upstream_failed"), **run["conf"])
        airflow.logs["deploy-abc", "plan"] = ["FAILED: planning the way to 'head'"]
        airflow.left["deploy-abc", "plan", "error"] = "revision '0001' was edited"

    airflow.on_start = refused
    code, said = deploy("--key", "abc")

    assert code == 1
    assert "FAILED: planning the way to 'head'" in said
    assert "error: revision '0001' was edited" in said
    assert "Nothing was changed" in said


def test_nobody_could_be_asked(
    airflow: ScriptedAirflow, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.dags["migrate"]["is_paused"] = True
    code, said = deploy("--key", "abc")
    assert (code, "is paused" in said) == (2, True)
    airflow.dags.clear()
    code, said = deploy("--key", "abc")
    assert (code, "has no DAG 'migrate'" in said) == (2, True)
    assert airflow.started() == []

    monkeypatch.delenv("LOCKSTEP_AIRFLOW_PASSWORD_FILE")
    code, said = deploy("--key", "abc")
    assert (code, "LOCKSTEP_AIRFLOW_TOKEN_FILE" in said) == (2, True)
    monkeypatch.setenv("LOCKSTEP_AIRFLOW_PASSWORD", "wrong")
    code, said = deploy("--key", "abc")
    assert (code, "Airflow answered 401 to POST /auth/token" in said) == (2, True)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setenv("LOCKSTEP_AIRFLOW_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
        code, said = deploy("--key", "abc", "--contact", "0.3")
    assert (code, "gave no answer for" in said) == (2, True)


def test_lost_connections_and_a_token_that_ran_out_are_lived_through(
    airflow: ScriptedAirflow, deploy: Deploy
) -> None:
    def look(number: int) -> None:
        if number == 2:  # the first finds no run yet
            airflow.runs["migrate", "deploy-abc"]["state"] = "running"
            airflow.tokens = set()
        if number == 3:
            airflow.faults[:] = ["503", "cut", "502", "cut"]
        if number == 6:
            all_well(airflow, "deploy-abc")

    airflow.on_look = look
    airflow.faults[:] = ["503", "cut"]
    code, said = deploy("--key", "abc")

    assert code == 0
    assert said.count("Airflow answers again") == 2
    assert airflow.asked.count("POST /auth/token") >= 2
    assert airflow.started() == ["deploy-abc"]


def test_a_start_whose_answer_was_lost_is_no_second_start(
    airflow: ScriptedAirflow, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(run: dict[str, Any]) -> None:
        all_well(airflow, run["dag_run_id"])
        raise ConnectionAbortedError  # the server's thread dies before it answers

    monkeypatch.setattr("socketserver.BaseServer.handle_error", lambda *arguments: None)
    airflow.on_start = lost

    assert deploy("--key", "abc")[0] == 0
    assert airflow.asked.count("POST /api/v2/dags/migrate/dagRuns") == 2
    assert airflow.started() == ["deploy-abc"]


def test_a_rerun_attaches_and_tries_again_after_a_failure(airflow: ScriptedAirflow, deploy: Deploy) -> None:
    airflow.add("migrate", "deploy-abc", "running", target="head")
    airflow.on_look = lambda number: second_fails(airflow, "deploy-abc") if number == 3 else None
    code, said = deploy("--key", "abc")
    assert (code, "attached to run 'deploy-abc'" in said) == (1, True)

    airflow.on_look = lambda number: None
    airflow.on_start = lambda run: all_well(airflow, run["dag_run_id"])
    code, said = deploy("--key", "abc")
    assert (code, "run 'deploy-abc' failed at" in said) == (0, True)
    assert airflow.started() == ["deploy-abc", "deploy-abc-2"]

    code, said = deploy("--key", "abc")
    assert (code, "nothing was taken back since" in said) == (0, True)
    assert airflow.started() == ["deploy-abc", "deploy-abc-2"]

    airflow.add("rollback", "by-hand", "success", target="previous")
    code, said = deploy("--key", "abc")
    assert (code, "rollback 'by-hand' came after" in said) == (0, True)
    assert airflow.started() == ["deploy-abc", "deploy-abc-2", "deploy-abc-3"]


def test_a_key_of_another_target_is_refused_by_name(airflow: ScriptedAirflow, deploy: Deploy) -> None:
    airflow.add("migrate", "deploy-abc", "running", target="0001")

    code, said = deploy("--key", "abc")

    assert code == 2
    assert (
        "the key 'abc' belongs to run 'deploy-abc', which was asked for target '0001' and not 'head'" in said
    )


def test_the_key_of_a_pipeline_is_its_commit_and_itself(
    airflow: ScriptedAirflow, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.on_start = lambda run: all_well(airflow, run["dag_run_id"])
    monkeypatch.setenv("CI_COMMIT_SHA", "0123456789abcdef")
    monkeypatch.setenv("CI_PIPELINE_ID", "77")
    monkeypatch.setenv("CI_PIPELINE_URL", "https://gitlab.example/p/77")
    assert deploy()[0] == 0
    assert airflow.started() == ["deploy-0123456789ab-77"]
    assert airflow.runs["migrate", "deploy-0123456789ab-77"]["conf"]["note"] == "https://gitlab.example/p/77"

    assert deploy("--key", "a/b")[0] == 2
    assert deploy("--conf", "target=0001")[0] == 2


def test_a_run_that_takes_too_long_goes_on(airflow: ScriptedAirflow, deploy: Deploy) -> None:
    code, said = deploy("--key", "abc", "--timeout", "0.001")

    assert code == 1
    assert "goes on" in said
    assert "--key (abc)" in said


def test_it_says_what_the_run_waits_for_and_how_far_it_is(airflow: ScriptedAirflow, deploy: Deploy) -> None:
    def look(number: int) -> None:
        conf = {"target": "head"}
        if number == 2:
            airflow.add("migrate", "deploy-abc", "running", task("plan", "deferred"), **conf)
            airflow.left["deploy-abc", "plan", "waits_for"] = [
                {"dag_id": "migrate", "run_id": "by-hand", "by": "ada"}
            ]
        if number == 3:
            airflow.add("migrate", "deploy-abc", "running", task("plan", "success"), **conf)
            airflow.left["deploy-abc", "plan", "return_value"] = json.dumps({"plan": PLAN})
            ask = task("downgrade.ask", "awaiting_input")
            airflow.add("revision_0001_a", "deploy-abc__0001_up", "running", ask)
            airflow.questions["deploy-abc__0001_up", "downgrade.ask"] = {"subject": "What follows?"}
            shards = [
                {
                    "step": 0,
                    "state": "running",
                    "read": 500,
                    "estimate": 2000,
                    "rate": 100.0,
                    "eta_seconds": 15.0,
                }
            ]
            airflow.entries["revision_0001_a", "deploy-abc__0001_up"] = {"shards": shards}
        if number == 6:
            all_well(airflow, "deploy-abc")

    airflow.on_look = look
    code, said = deploy("--key", "abc")

    assert code == 0
    assert "waits for its turn: migrate 'by-hand', which ada asked for, goes first" in said
    assert said.count("waits for a person: What follows? Answer at ") == 1
    assert "▶ 0001  500 of about 2,000 records, 100/s, about 15 s left" in said


def test_a_dry_run_prints_the_plan(airflow: ScriptedAirflow, deploy: Deploy) -> None:
    planned = {
        **PLAN[0],
        "operations": [{"number": 1, "what": "ADD COLUMN", "lock": "strong", "records": 12000}],
    }

    def plan(run: dict[str, Any]) -> None:
        run_id = run["dag_run_id"]
        tasks = (task("plan", "success"), task("follow", "skipped"))
        airflow.add("migrate", run_id, "success", *tasks, **run["conf"])
        checks = [{"check": "connection", "place": "campus_auth", "state": "ok", "words": "It answers."}]
        airflow.left[run_id, "plan", "return_value"] = {"plan": [planned], "checks": checks}

    airflow.on_start = plan
    code, said = deploy("--key", "abc", "--dry-run")

    assert code == 0
    assert "plan: 1 revision(s) would move\nupgrade 0001  Add a.\n" in said
    assert "  1. ADD COLUMN (locks: strong; about 12,000 record(s) there)" in said
    assert "connection, campus_auth: ok. It answers." in said
    [run_id] = airflow.started()
    assert run_id.startswith("plan-abc-")
    assert airflow.runs["migrate", run_id]["conf"] == {"target": "head", "dry_run": True}


def test_the_answer_as_json(
    airflow: ScriptedAirflow, deploy: Deploy, capsys: pytest.CaptureFixture[str]
) -> None:
    airflow.on_start = lambda run: second_fails(airflow, run["dag_run_id"])
    code = main(["deploy", "--key", "abc", "--json", "--log-lines", "2"])

    found = json.loads(capsys.readouterr().out)
    assert (code, found["exit"], found["answer"]) == (1, 1, "no")
    assert [(step["revision"], step["status"]) for step in found["revisions"]] == [
        ("0001", "applied"),
        ("0002", "rolled_back"),
    ]
    assert found["failed_task"]["task"] == "upgrade.op_1.shard[m … p]"
    assert len(found["failed_task"]["log"]) == 2


# --- what became of a revision whose run failed -----------------------------------------------------------

CHILD = ("revision_0002_b", "deploy-abc__0002_up")
#: where the client looks first
ENTRY = "/lockstep/dag-runs/{}/{}".format(*CHILD)
NOBODY_SAID = "state: What became of revision 0002 is in the log of its task outcome.\n"


def led(airflow: ScriptedAirflow, *through: str) -> None:
    """Let the second revision have failed, with its entry at the end of some redirects."""
    airflow.on_start = lambda run: second_fails(airflow, run["dag_run_id"], said=None)
    airflow.leads.update(zip((ENTRY, *through), through, strict=False))
    airflow.pages[through[-1]] = (200, ROLLED_BACK)


def test_the_entry_is_found_where_there_are_several_environments(
    airflow: ScriptedAirflow, deploy: Deploy
) -> None:
    there = "/lockstep/in/staging/dag-runs/{}/{}".format(*CHILD)
    led(airflow, there, "/lockstep/in/staging/runs/0002-up-1")

    code, said = deploy("--key", "abc", "--environment", "staging")

    assert code == 1
    assert "✗ 0002  rolled_back" in said
    assert "What revision 0002 had done is undone" in said
    pages = [asked.removeprefix("GET ") for asked in airflow.asked if "/lockstep/" in asked]
    assert pages == [ENTRY, there, "/lockstep/in/staging/runs/0002-up-1"]


@pytest.mark.parametrize(("last", "status"), [("c", "rolled_back"), ("d", "unknown")])
def test_three_redirects_are_followed_and_no_more(
    airflow: ScriptedAirflow, deploy: Deploy, last: str, status: str
) -> None:
    led(airflow, *(f"/lockstep/{page}" for page in "abcd" if page <= last))

    code, said = deploy("--key", "abc")

    assert (code, f"✗ 0002  {status}" in said) == (1, True)
    assert "GET /lockstep/c" in airflow.asked
    assert "GET /lockstep/d" not in airflow.asked


@pytest.mark.parametrize("first", [(), ("/lockstep/in/staging/here",)])
@pytest.mark.parametrize(
    "there", ["http://localhost:{own}", "//localhost:{other}", "http://127.0.0.1:{other}", "http://[", "ftp:"]
)
def test_the_token_goes_to_no_other_host(
    airflow: ScriptedAirflow, deploy: Deploy, there: str, first: tuple[str, ...]
) -> None:
    other = ScriptedAirflow()
    other.pages["/lockstep/there"] = (200, ROLLED_BACK)
    with served(other) as address:
        own, others = (urlsplit(one).port for one in (os.environ["LOCKSTEP_AIRFLOW_URL"], address))
        led(airflow, *first, f"{there.format(own=own, other=others)}/lockstep/there")
        airflow.pages["/lockstep/there"] = (200, ROLLED_BACK)
        code, said = deploy("--key", "abc")

    assert (code, "✗ 0002  unknown" in said, NOBODY_SAID in said) == (1, True, True)
    assert "GET /lockstep/there" not in airflow.asked
    assert other.asked == []


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((200, "<!doctype html><title>Airflow</title>"), id="no-plugin"),
        pytest.param((404, {"detail": "Not Found"}), id="no-route"),
        pytest.param((404, {"detail": "the ledger has another version"}), id="no-ledger"),
        pytest.param((404, "<h1>404</h1>"), id="a-proxy"),
        pytest.param((503, {"detail": "the ledger does not answer"}), id="ledger-away"),
        pytest.param((403, {"detail": "you may not read the runs of revision_0002_b"}), id="no-right"),
        pytest.param((200, {}), id="empty"),
        pytest.param((200, {"run": "nonsense"}), id="nonsense"),
    ],
)
def test_what_nobody_said_is_unknown_and_not_half_way(
    airflow: ScriptedAirflow, deploy: Deploy, answer: tuple[int, Any]
) -> None:
    airflow.on_start = lambda run: second_fails(airflow, run["dag_run_id"], said=None)
    airflow.pages[ENTRY] = answer

    code, said = deploy("--key", "abc")

    assert code == 1
    assert "✗ 0002  unknown" in said
    assert NOBODY_SAID in said
    assert "half-way" not in said


def test_a_run_that_the_ledger_does_not_know_changed_nothing(
    airflow: ScriptedAirflow, deploy: Deploy
) -> None:
    airflow.on_start = lambda run: second_fails(airflow, run["dag_run_id"], said=None)

    code, said = deploy("--key", "abc")

    assert code == 1
    assert "✗ 0002  not_opened" in said
    assert "state: The run of revision 0002 was not opened in the ledger: nothing was changed by it." in said
    assert "half-way" not in said


def test_half_way_is_what_the_ledger_says(airflow: ScriptedAirflow, deploy: Deploy) -> None:
    said_so = {"run": {"status": "failed"}}
    airflow.on_start = lambda run: second_fails(airflow, run["dag_run_id"], said=said_so)

    code, said = deploy("--key", "abc")

    assert (code, "✗ 0002  failed" in said) == (1, True)
    assert "Revision 0002 is half-way" in said


@pytest.mark.parametrize("fault", ["503", "cut", "not opened yet"])
def test_an_empty_answer_is_asked_again_and_a_full_one_is_not(
    airflow: ScriptedAirflow, deploy: Deploy, fault: str
) -> None:
    def begin(run: dict[str, Any]) -> None:
        second_fails(airflow, run["dag_run_id"], said=None if fault == "not opened yet" else ROLLED_BACK)
        airflow.runs["migrate", "deploy-abc"]["state"] = "running"
        if fault != "not opened yet":
            airflow.page_faults.append(fault)

    def look(number: int) -> None:
        if number == 3:
            airflow.entries[CHILD] = ROLLED_BACK
        if number == 5:
            airflow.runs["migrate", "deploy-abc"]["state"] = "failed"

    airflow.on_start, airflow.on_look = begin, look
    code, said = deploy("--key", "abc")

    assert code == 1
    assert "What revision 0002 had done is undone" in said
    assert airflow.looks == 5
    assert airflow.asked.count(f"GET {ENTRY}") == 2


@pytest.mark.parametrize(
    ("answer", "status", "state"),
    [
        ((503, {"detail": "away"}), "unknown", "What became of revision 0002 is in the log of"),
        (None, "not_opened", "The run of revision 0002 was not opened in the ledger"),
    ],
)
def test_json_says_what_nobody_knows(
    airflow: ScriptedAirflow,
    deploy: Deploy,
    capsys: pytest.CaptureFixture[str],
    answer: tuple[int, Any] | None,
    status: str,
    state: str,
) -> None:
    airflow.on_start = lambda run: second_fails(airflow, run["dag_run_id"], said=None)
    if answer is not None:
        airflow.pages[ENTRY] = answer
    code = main(["deploy", "--key", "abc", "--json"])

    found = json.loads(capsys.readouterr().out)
    assert (code, found["exit"], found["answer"]) == (1, 1, "no")
    assert found["revisions"][1]["state"] == "failed"
    assert found["revisions"][1]["status"] == status
    assert found["state"].startswith(state)
