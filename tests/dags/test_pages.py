"""The pages over the ledger: who may read them and pause a run there, and what they show."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException
from fastapi.routing import APIRoute

from lockstep.domain.errors import Refused, Unavailable
from lockstep.domain.progress import BackupFile, Manifest, Progress
from lockstep.domain.quarantine import Quarantined, QuarantinedRecord
from lockstep.domain.run import Caller, Pause, Run, ShardState
from lockstep.domain.status import RunStatus
from lockstep.web.app import create_app
from lockstep.web.asking import Asker
from lockstep.web.read import Reader

AT = datetime(2026, 1, 2, tzinfo=timezone.utc)
RUN = Run(
    id="0003-up-1",
    revision="0003",
    direction="upgrade",
    status=RunStatus.ROLLED_BACK,
    caller=Caller(dag_id="revision_0003", dag_run_id="manual__1", by="<b>ann</b>"),
    checksum="abc",
    started_at=AT,
    error="record '<script>' cannot be carried",
)
SHARD = ShardState(
    step=1,
    shard=0,
    label="a to m",
    lower=None,
    upper=None,
    state="done",
    epoch=1,
    progress=Progress(batches=7),
)
RUNNING = replace(
    SHARD,
    shard=1,
    label="m to z",
    state="running",
    estimate=1000,
    rate=50.0,
    progress=Progress(batches=2, read=200, written=150, quarantined=1),
)
LEFT = QuarantinedRecord(
    run_id=RUN.id,
    step=1,
    shard=1,
    conn_id="campus_auth",
    resource="users",
    record=Quarantined(key="k", shown="uid-<7>", error="no such course"),
    at=AT,
)
FILE = BackupFile(path="backups/users.dump", size=12, sha256="f00d", holds="postgres archive")
MANIFEST = Manifest(
    run_id=RUN.id, conn_id="campus_auth", kind="table", path="backups/m.json", taken_at=AT, files=(FILE,)
)


@dataclass
class Ledger:
    """Answers for one run."""

    fails: Exception | None = None
    kept: Run = RUN
    of_shards: tuple[ShardState, ...] = (SHARD,)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(
        default_factory=lambda: [
            {"run_id": RUN.id, "kind": "status"},
            {"run_id": "another", "kind": "status"},
        ]
    )

    def run(self, run_id: str) -> Run:
        if self.fails:
            raise self.fails
        if run_id != RUN.id:
            raise Refused(f"there is no run {run_id!r}")
        return self.kept

    def pause(self, run_id: str, *, by: str, reason: str) -> Run:
        if self.kept.status is not RunStatus.OPEN:
            raise Refused(f"run {run_id} has ended")
        self.asked.append(("pause", run_id, by, reason))
        self.kept = replace(self.kept, pause=Pause(by=by, reason=reason, at=AT))
        return self.kept

    def resume(self, run_id: str, *, by: str) -> Run:
        self.asked.append(("resume", run_id, by))
        self.kept = replace(self.kept, pause=None)
        return self.kept

    def quarantined(self, run_id: str) -> list[QuarantinedRecord]:
        return [LEFT]

    def run_of(self, dag_id: str, dag_run_id: str) -> Run | None:
        return RUN if (dag_id, dag_run_id) == (RUN.caller.dag_id, RUN.caller.dag_run_id) else None

    def revisions(self) -> dict[str, Any]:
        return {}

    def shards(self, run_id: str, phase: str) -> list[ShardState]:
        return list(self.of_shards) if phase == "upgrade" else []

    def history(self, revision: str) -> list[dict[str, Any]]:
        return self.entries

    def backups(self, run_id: str) -> list[Manifest]:
        return [MANIFEST]


@dataclass
class Client:
    """Asks the pages, without a server between."""

    app: FastAPI
    root_path: str = ""

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.send("GET", path, headers)

    def post(self, path: str, user: str, body: Any) -> httpx.Response:
        return self.send("POST", path, {"user": user} if user else {}, json=body)

    def send(self, method: str, path: str, headers: dict[str, str], **more: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, root_path=self.root_path)
            async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as http:
                return await http.request(method, path, headers=headers, **more)

        return asyncio.run(ask())


def client(ledger: Ledger | None = None, root_path: str = "") -> Client:
    """Return a client of the pages; the header `user` stands for a login. Only ann may start runs."""
    known: Any = ledger or Ledger()

    def who(user: str = Header(default="")) -> Asker:
        if not user:
            raise HTTPException(401, "not logged in")
        return Asker(
            name=user,
            may_read=lambda dag_id: user in ("ann", "vic") and dag_id == RUN.caller.dag_id,
            may_start=lambda dag_id: user == "ann" and dag_id == RUN.caller.dag_id,
        )

    return Client(
        create_app(Reader(ledger=lambda: known, uri=lambda path: f"s3://vault/{path}"), who), root_path
    )


PAGES = [
    "/runs/0003-up-1",
    "/runs/0003-up-1/backup",
    "/dag-runs/revision_0003/manual__1",
    "/dag-runs/revision_0003/manual__1/backup",
]


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_reads_nothing(page: str) -> None:
    assert client().get(page).status_code == 401


@pytest.mark.parametrize("page", PAGES)
def test_who_may_not_see_the_dag_may_not_see_its_runs(page: str) -> None:
    assert client().get(page, user="bob").status_code == 403


def test_every_route_asks_who_it_is() -> None:
    paths = {route.path for route in client().app.routes if isinstance(route, APIRoute)}

    assert paths == {
        "/runs/{run_id}",
        "/runs/{run_id}/backup",
        "/dag-runs/{dag_id}/{dag_run_id}",
        "/dag-runs/{dag_id}/{dag_run_id}/backup",
        "/runs/{run_id}/pause",
        "/runs/{run_id}/resume",
        "/backups",
        "/events/migration.v1.json",
        "/history",
        "/parked",
        "/plan",
        "/drift",
        "/readiness",
        "/readiness/{revision}",
        "/rehearsals",
        "/rehearsals/{rehearsal_id}",
        "/dag-runs/{dag_id}/{dag_run_id}/rehearsal",
    }


def test_the_schema_of_events_is_where_each_event_says() -> None:
    assert client().get("/events/migration.v1.json").status_code == 401
    found = client().get("/events/migration.v1.json", user="bob")

    assert found.headers["content-type"] == "application/schema+json"
    assert found.json()["properties"]["version"] == {"const": 1}


def test_a_program_reads_the_entry_as_json() -> None:
    found = client().get(PAGES[0], user="ann").json()

    assert found["run"]["status"] == "rolled_back"
    assert found["run"]["started_at"] == "2026-01-02T00:00:00+00:00"
    assert found["shards"] == [
        {
            "phase": "upgrade",
            "step": 1,
            "shard": 0,
            "label": "a to m",
            "state": "done",
            "waits_for": None,
            "batches": 7,
            "estimate": None,
            "read": 0,
            "written": 0,
            "quarantined": 0,
            "rate": None,
            "eta_seconds": None,
        }
    ]
    assert found["quarantined"][0]["record"] == {
        "key": "k",
        "shown": "uid-<7>",
        "error": "no such course",
    }
    assert found["history"] == [{"run_id": RUN.id, "kind": "status"}]
    assert found["backups"] == ["s3://vault/backups/m.json"]


def test_a_person_reads_a_page_in_which_nothing_is_run() -> None:
    answer = client().get(PAGES[0], user="ann", accept="text/html")

    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "&lt;script&gt;" in answer.text
    assert "<script>" not in answer.text
    assert "uid-&lt;7&gt;" in answer.text
    assert "<b>ann" not in answer.text


def test_the_backup_page_lists_files_with_size_and_hash() -> None:
    (manifest,) = client().get(PAGES[1], user="ann").json()

    assert manifest["uri"] == "s3://vault/backups/m.json"
    assert manifest["files"][0] == {
        "path": "backups/users.dump",
        "size": 12,
        "sha256": "f00d",
        "holds": "postgres archive",
        "count": None,
    }
    assert "users.dump" in client().get(PAGES[1], user="ann", accept="text/html").text


def test_a_dag_run_leads_to_its_ledger_entry_below_the_mount() -> None:
    below = client(root_path="/airflow/lockstep")

    answer = below.get(PAGES[3], user="ann")

    assert answer.status_code == 307
    assert answer.headers["location"] == "/airflow/lockstep/runs/0003-up-1/backup"


def test_what_is_not_there_is_404_and_a_ledger_that_is_down_503() -> None:
    assert client().get("/runs/none", user="ann").status_code == 404
    missing = client().get("/dag-runs/revision_0003/another", user="ann")
    assert missing.status_code == 404
    assert "revision_0003 / another" in missing.json()["detail"], "lockstep deploy knows it by this"
    down = client(Ledger(fails=Unavailable("the ledger does not answer")))
    assert down.get(PAGES[0], user="ann").status_code == 503


def test_what_is_left_is_said_only_where_it_was_estimated_and_measured() -> None:
    unknown = replace(RUNNING, shard=2, estimate=None)
    held = replace(RUNNING, shard=3, state="held", held="replication lag: 14 s, allowed 10 s")
    shown = client(Ledger(of_shards=(RUNNING, unknown, held)))

    found = shown.get(PAGES[0], user="ann").json()["shards"]

    assert [shard["eta_seconds"] for shard in found] == [16.0, None, None]
    assert [shard["rate"] for shard in found] == [50.0, 50.0, None]
    assert found[2]["waits_for"] == "replication lag: 14 s, allowed 10 s"
    text = shown.get(PAGES[0], user="ann", accept="text/html").text
    assert "<td>50/s</td><td>16 s</td>" in text
    assert "<td>50/s</td><td></td>" in text


# --- pause and resume --------------------------------------------------------------------------------------

OPEN = replace(RUN, status=RunStatus.OPEN)


def test_who_may_start_runs_pauses_and_resumes_one_and_the_ledger_knows_who() -> None:
    ledger = Ledger(kept=OPEN)

    paused = client(ledger).post("/runs/0003-up-1/pause", "ann", {"reason": " exams "})
    resumed = client(ledger).post("/runs/0003-up-1/resume", "ann", {})

    assert (paused.status_code, resumed.status_code) == (200, 200)
    assert paused.json()["pause"] == {"by": "ann", "reason": "exams", "at": "2026-01-02T00:00:00+00:00"}
    assert resumed.json() == {"run": "0003-up-1", "status": "open", "pause": None}
    assert ledger.asked == [("pause", "0003-up-1", "ann", "exams"), ("resume", "0003-up-1", "ann")]


@pytest.mark.parametrize("what", ["pause", "resume"])
@pytest.mark.parametrize(("user", "status"), [("", 401), ("vic", 403), ("bob", 403)])
def test_who_may_only_look_changes_nothing(what: str, user: str, status: int) -> None:
    ledger = Ledger(kept=OPEN)

    assert client(ledger).post(f"/runs/0003-up-1/{what}", user, {}).status_code == status
    assert ledger.asked == []


def test_a_run_that_has_ended_cannot_be_paused() -> None:
    answer = client().post("/runs/0003-up-1/pause", "ann", {"reason": "late"})

    assert answer.status_code == 409
    assert answer.json()["detail"] == "run 0003-up-1 has ended"


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"content-type": "application/x-www-form-urlencoded"}, b"reason=x"),
        ({"content-type": "text/plain"}, b'{"reason": "x"}'),
        ({}, b'{"reason": "x"}'),
    ],
)
def test_what_another_site_could_send_is_refused(headers: dict[str, str], content: bytes) -> None:
    ledger = Ledger(kept=OPEN)

    answer = client(ledger).send("POST", "/runs/0003-up-1/pause", {"user": "ann", **headers}, content=content)

    assert answer.status_code == 415
    assert ledger.asked == []


@pytest.mark.parametrize("body", [{"reason": 5}, {"reason": "x" * 501}, {"because": "x"}])
def test_a_body_that_means_nothing_is_refused(body: Any) -> None:
    ledger = Ledger(kept=OPEN)

    assert client(ledger).post("/runs/0003-up-1/pause", "ann", body).status_code == 422
    assert ledger.asked == []


def page_of(kept: Run, user: str = "ann") -> httpx.Response:
    return client(Ledger(kept=kept), root_path="/airflow/lockstep").get(
        PAGES[0], user=user, accept="text/html"
    )


def test_the_page_of_an_open_run_has_the_button_that_fits() -> None:
    paused = replace(OPEN, pause=Pause(by="<i>ann</i>", reason="exams", at=AT))

    assert 'data-to="/airflow/lockstep/runs/0003-up-1/pause"' in page_of(OPEN).text
    assert 'data-to="/airflow/lockstep/runs/0003-up-1/resume"' in page_of(paused).text
    assert "Paused by &lt;i&gt;ann&lt;/i&gt; at 2026-01-02 00:00:00 UTC: exams" in page_of(paused).text
    assert "data-to" not in page_of(RUN).text
    assert "data-to" not in page_of(paused, user="vic").text
    assert "Paused by" in page_of(paused, user="vic").text


def test_the_only_script_that_may_run_is_the_one_on_the_page() -> None:
    answer = page_of(OPEN)

    (script,) = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in answer.headers["content-security-policy"]
    assert "connect-src 'self'" in answer.headers["content-security-policy"]
