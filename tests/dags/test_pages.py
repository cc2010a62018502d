"""The pages over the ledger: who may read them, and what they show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException
from fastapi.routing import APIRoute

from lockstep.domain.errors import Refused, Unavailable
from lockstep.domain.progress import BackupFile, Manifest, Progress
from lockstep.domain.run import Caller, Run, ShardState
from lockstep.domain.status import RunStatus
from lockstep.web.app import create_app
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
FILE = BackupFile(path="backups/users.dump", size=12, sha256="f00d", holds="postgres archive")
MANIFEST = Manifest(
    run_id=RUN.id, conn_id="campus_auth", kind="table", path="backups/m.json", taken_at=AT, files=(FILE,)
)


@dataclass
class Ledger:
    """Answers for one run."""

    fails: Exception | None = None
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
        return RUN

    def run_of(self, dag_id: str, dag_run_id: str) -> Run | None:
        return RUN if (dag_id, dag_run_id) == (RUN.caller.dag_id, RUN.caller.dag_run_id) else None

    def revisions(self) -> dict[str, Any]:
        return {}

    def shards(self, run_id: str, phase: str) -> list[ShardState]:
        return [SHARD] if phase == "upgrade" else []

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
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, root_path=self.root_path)
            async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as http:
                return await http.get(path, headers=headers)

        return asyncio.run(ask())


def client(ledger: Ledger | None = None, root_path: str = "") -> Client:
    """Return a client of the pages; the header `user` stands for a login."""
    known: Any = ledger or Ledger()

    def may_read(user: str = Header(default="")) -> Callable[[str], bool]:
        if not user:
            raise HTTPException(401, "not logged in")
        return lambda dag_id: user == "ann"

    return Client(
        create_app(Reader(ledger=lambda: known, uri=lambda path: f"s3://vault/{path}"), may_read), root_path
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
    }


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
            "batches": 7,
            "read": 0,
            "written": 0,
        }
    ]
    assert found["history"] == [{"run_id": RUN.id, "kind": "status"}]
    assert found["backups"] == ["s3://vault/backups/m.json"]


def test_a_person_reads_a_page_in_which_nothing_is_run() -> None:
    answer = client().get(PAGES[0], user="ann", accept="text/html")

    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "&lt;script&gt;" in answer.text
    assert "<script>" not in answer.text
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
    assert client().get("/dag-runs/a/b", user="ann").status_code == 404
    down = client(Ledger(fails=Unavailable("the ledger does not answer")))
    assert down.get(PAGES[0], user="ann").status_code == 503
