"""The page of what a downgrade would do now: who may read it, and what it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timezone
from typing import Any

import httpx
from fastapi import Header, HTTPException

from lockstep.domain.backups import Proof
from lockstep.domain.errors import Unavailable
from lockstep.domain.readiness import KeptBackup, Readiness, StepDown, Written
from lockstep.web.app import create_app
from lockstep.web.asking import Asker
from lockstep.web.read import Reader

LOSSY = Readiness(
    revision="0006",
    description="Add <b>names</b>",
    run_id="0006-up-1",
    applied_at=datetime(2026, 1, 2, tzinfo=timezone.utc),
    steps=(
        StepDown(
            number=1, what="ALTER TABLE …", keeps="nothing", loses="DROP COLUMN <nick> of users", records=7
        ),
    ),
    written=(
        Written(resource="table users (campus_auth)", records=7),
        Written(resource="collection notes (campus_documents)", records=2, exact=False),
        Written(resource="table traces (campus_api)", records=None, remark="counters began anew"),
    ),
    backups=(
        KeptBackup(
            conn_id="campus_auth",
            uri="s3://vault/m.json",
            bytes=12,
            age_seconds=7200,
            proof=Proof.RESTORE,
            problem="users.dump differs",
        ),
    ),
)


class _Nothing:
    """No ledger is asked."""


def get(path: str, user: str = "", html: bool = False, fails: Exception | None = None) -> httpx.Response:
    def ready(revisions: Collection[str] | None) -> Sequence[Readiness]:
        if fails:
            raise fails
        return [LOSSY] if revisions is None or LOSSY.revision in revisions else []

    def who(user: str = Header(default="")) -> Asker:
        if not user:
            raise HTTPException(401, "not logged in")
        return Asker(
            name=user,
            may_read=lambda dag_id: (user, dag_id) == ("ann", "rollback"),
            may_start=lambda _: False,
        )

    ledger: Any = _Nothing()
    app = create_app(Reader(ledger=lambda: ledger, uri=str, ready=ready), who)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
            headers = {
                "accept": "text/html" if html else "application/json",
                **({"user": user} if user else {}),
            }
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def test_strangers_and_those_who_may_not_roll_back_read_nothing() -> None:
    for path in ("/readiness", "/readiness/0006"):
        assert get(path).status_code == 401
        assert get(path, "bob").status_code == 403


def test_a_program_reads_it_as_json() -> None:
    [one] = get("/readiness", "ann").json()["revisions"]
    assert (one["revision"], one["lossy"]) == ("0006", True)
    assert one["steps"][0]["records"] == 7
    assert one["written"][2]["records"] is None
    assert (one["backups"][0]["proof"], one["backups"][0]["problem"]) == ("restore", "users.dump differs")


def test_a_person_reads_a_page_in_which_nothing_is_run() -> None:
    text = get("/readiness/0006", "ann", html=True).text
    assert "A downgrade would lose data for good" in text
    assert "DROP COLUMN &lt;nick&gt; of users: 7 record(s)" in text
    assert "<b>names" not in text
    assert "at least 2 record(s)" in text
    assert "nobody knows how many records" in text
    assert "users.dump differs" in text


def test_a_revision_that_is_not_applied_is_404_and_a_database_that_is_down_503() -> None:
    assert get("/readiness/0009", "ann").status_code == 404
    assert get("/readiness", "ann", fails=Unavailable("PostgreSQL does not answer")).status_code == 503
