"""The page of the history, and what entries say of the task that writes them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Header, HTTPException

from lockstep.domain.history import BrokenLink, seal
from lockstep.web.asking import Asker
from lockstep.web.history import add_history
from lockstep.web.read import Reader


def chain() -> list[dict[str, Any]]:
    """Return three entries, sealed."""
    made: list[dict[str, Any]] = []
    for number, kind in enumerate(("opened", "task_failed", "ended"), 1):
        entry: dict[str, Any] = {
            "id": number,
            "at": f"2026-01-0{number}T00:00:00+00:00",
            "revision": "0001",
            "run_id": "r1",
            "kind": kind,
            "from_status": None,
            "to_status": None,
            "reason": None,
            "who": "<b>ann</b>",
            "detail": {"host": "w1", "error": f"why {number}"},
            "prev_hash": made[-1]["hash"] if made else "",
        }
        made.append({**entry, "hash": seal(entry)})
    return made


class Ledger:
    def __init__(self) -> None:
        self.broken: BrokenLink | None = None

    def entries(self, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
        return chain()[after : after + limit]

    def broken_link(self) -> BrokenLink | None:
        return self.broken


def asker(user: str = Header()) -> Asker:
    if user != "ann":
        raise HTTPException(401)
    return Asker(name=user, may_read=lambda dag_id: dag_id == "migrate", may_start=lambda dag_id: False)


def ask(
    ledger: Ledger, query: str = "", user: str = "ann", accept: str = "application/json"
) -> httpx.Response:
    from fastapi import Depends

    app = FastAPI()
    reader = Reader(ledger=lambda: ledger, uri=str)  # type: ignore[arg-type, return-value]
    add_history(app, reader, Depends(asker), {})

    async def answer() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(f"/history{query}", headers={"user": user, "accept": accept})

    return asyncio.run(answer())


def test_the_page_tells_what_is_asked_for_and_nothing_to_strangers() -> None:
    ledger = Ledger()
    assert ask(ledger, user="eve").status_code == 401
    assert [one["id"] for one in ask(ledger).json()["entries"]] == [1, 2, 3]
    assert [one["id"] for one in ask(ledger, "?kind=task_failed").json()["entries"]] == [2]
    assert [one["id"] for one in ask(ledger, "?since=2026-01-02&last=1").json()["entries"]] == [3]
    assert ask(ledger, "?last=0").status_code == 422
    page = ask(ledger, accept="text/html").text
    assert "&lt;b&gt;ann&lt;/b&gt;" in page
    assert "<b>ann" not in page
    assert page.index("why 3") < page.index("why 1")


def test_the_page_says_whether_the_chain_holds_where_it_is_asked() -> None:
    ledger = Ledger()
    assert ask(ledger).json()["chain"] is None
    assert ask(ledger, "?verify=1").json()["chain"] == {"holds": True, "broken": None}
    ledger.broken = BrokenLink(id=2, field="hash", problem="its content has another hash")
    assert ask(ledger, "?verify=1").json()["chain"]["broken"]["id"] == 2
    assert "The chain is broken" in ask(ledger, "?verify=1", accept="text/html").text


def test_an_entry_says_which_task_wrote_it_and_where_its_log_is(monkeypatch: pytest.MonkeyPatch) -> None:
    import airflow.sdk

    from lockstep.orchestration.surroundings import surroundings

    outside = surroundings()
    assert (outside.task, outside.log_url) == (None, None)
    assert {"lockstep", "airflow", "python"} <= set(outside.versions)
    ti = SimpleNamespace(
        dag_id="revision_0001",
        run_id="manual__1",
        task_id="op1.shard",
        map_index=0,
        try_number=2,
        log_url="http://airflow/log",
    )
    monkeypatch.setattr(airflow.sdk, "get_current_context", lambda: {"ti": ti})
    inside = surroundings()
    assert inside.task == "revision_0001 / manual__1 / op1.shard[0], try 2"
    assert inside.facts()["log_url"] == "http://airflow/log"
