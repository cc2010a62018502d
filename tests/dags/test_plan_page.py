"""The page of what migrate or rollback would do now: who may read it, and what it shows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
from fastapi import Header, HTTPException
from scripted_engine import planned_as, step

from lockstep.domain.errors import Refused
from lockstep.domain.plan import Check, Plan, PlannedOperation, State
from lockstep.domain.rehearsal import Prediction
from lockstep.web.app import create_app
from lockstep.web.asking import Asker
from lockstep.web.read import Reader

OPERATION = PlannedOperation(
    number=1,
    what="transform <users>",
    lock="rows",
    batched=True,
    lossy=True,
    way_back="its before-images are put back from the journal",
    resources=("table users (campus_auth)",),
    records=1200,
)
PLAN = replace(
    planned_as(
        replace(step("0006"), operations=(OPERATION,), predicted=Prediction(seconds=12, low=10, high=15))
    ),
    checks=(Check(check="disk", place="campus_auth", state=State.WARNING, words="Little room."),),
)


def get(path: str, user: str = "", html: bool = False, fails: Exception | None = None) -> httpx.Response:
    def plan(target: str, direction: str) -> Plan:
        if fails:
            raise fails
        return replace(PLAN, target=f"{target}, {direction}")

    def who(user: str = Header(default="")) -> Asker:
        if not user:
            raise HTTPException(401, "not logged in")
        return Asker(name=user, may_read=lambda dag_id: dag_id == user, may_start=lambda dag_id: False)

    reader: Any = Reader(ledger=lambda: None, uri=str, plan=plan)  # type: ignore[arg-type,return-value]
    accept = "text/html" if html else "application/json"

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(create_app(reader, who))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path, headers={"user": user, "accept": accept})

    return asyncio.run(ask())


def test_who_may_read_the_runs_of_the_dag_may_read_its_plan() -> None:
    assert get("/plan").status_code == 401
    assert get("/plan", "rollback").status_code == 403
    assert get("/plan", "migrate").json()["target"] == "head, upgrade"
    assert get("/plan?direction=downgrade", "rollback").json()["target"] == "previous, downgrade"
    assert get("/plan?direction=sideways", "migrate").status_code == 422


def test_the_json_has_all_of_it() -> None:
    told = get("/plan?target=0006", "migrate").json()

    assert told["target"] == "0006, upgrade"
    (one,) = told["plan"]
    assert one["operations"][0]["records"] == 1200
    assert one["predicted"] == {"seconds": 12, "low": 10, "high": 15}
    assert one["approval"]["state"] == "needed"
    assert told["checks"][0]["state"] == "warning"


def test_the_page_says_it_to_a_person_and_escapes() -> None:
    text = get("/plan", "migrate", html=True).text

    assert "transform &lt;users&gt;" in text
    assert "about 1,200" in text
    assert "12.0 s (10.0 to 15.0 s)" in text
    assert "needed: production asks for every revision" in text
    assert "Little room." in text


def test_what_forbids_a_plan_is_said() -> None:
    answer = get("/plan", "migrate", fails=Refused("revision '0001' was edited"))

    assert (answer.status_code, answer.json()["detail"]) == (409, "revision '0001' was edited")
