"""The pages of what is parked and of drift."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from fastapi import Header, HTTPException
from test_pages import Client

from lockstep.domain.errors import DataError, Unavailable
from lockstep.domain.parked import Parked
from lockstep.web.app import create_app
from lockstep.web.asking import Asker
from lockstep.web.read import Reader

NOW = datetime.now(timezone.utc)
TABLE = Parked(
    conn_id="campus_auth",
    kind="table",
    resource="<old>",
    parked_as="r1__old",
    parked_at=NOW - timedelta(days=12),
    run_id="0003-up-1",
    revision="0003",
    bytes=1_234_567,
    records=5000,
)
COLUMN = Parked(
    conn_id="campus_auth",
    kind="column",
    resource="users.nick",
    parked_as="c1__nick",
    parked_at=NOW - timedelta(days=3),
)
GONE = Parked(
    conn_id="campus_documents",
    kind="collection",
    resource="notes",
    parked_as="p",
    parked_at=NOW - timedelta(days=50),
    gone_at=NOW - timedelta(days=10),
    gone_why="removed after 30 day(s)",
)
DRIFT = {
    "at": "2026-06-01T03:00:00+00:00",
    "compared": {"campus_auth": {"run": "0003-up-1", "at": "2026-05-01T00:00:00+00:00", "objects": 7}},
    "ignored": ["table tmp_*"],
    "differences": [
        {
            "conn_id": "campus_auth",
            "object": "table users",
            "kind": "changed",
            "expected": "id text",
            "now": "id text\nx <int>",
        },
        {
            "conn_id": "campus_auth",
            "object": "index i",
            "kind": "missing",
            "expected": "btree (a)",
            "now": None,
        },
    ],
}


@dataclass
class Ledger:
    found: list[Parked] = field(default_factory=lambda: [GONE, TABLE, COLUMN])

    def parked(self, *, gone: bool = False) -> list[Parked]:
        assert gone
        return self.found


def client(kept: Any = None, found: list[Parked] | None = None) -> Client:
    """Return a client of the pages; the header `user` stands for a login, and only ann may read them."""
    ledger: Any = Ledger() if found is None else Ledger(found)

    def who(user: str = Header(default="")) -> Asker:
        if not user:
            raise HTTPException(401, "not logged in")
        return Asker(
            name=user,
            may_read=lambda dag_id: user == "ann" and dag_id == "housekeeping",
            may_start=lambda dag_id: False,
        )

    def read(path: str) -> bytes:
        assert path == "housekeeping/drift.json"
        if isinstance(kept, Exception):
            raise kept
        return json.dumps(kept).encode()

    reader = Reader(ledger=lambda: ledger, uri=lambda path: f"s3://vault/{path}", kept=read)
    return Client(create_app(reader, who), "/airflow/lockstep")


@pytest.mark.parametrize("page", ["/parked", "/drift"])
def test_who_may_not_see_the_dag_may_not_see_its_pages(page: str) -> None:
    assert client(DRIFT).get(page).status_code == 401
    assert client(DRIFT).get(page, user="bob").status_code == 403


def test_a_program_reads_what_is_parked_with_size_age_and_revision() -> None:
    found = client().get("/parked", user="ann").json()
    table, column = found["parked"]
    assert (table["what"], table["bytes"], table["records"]) == ("<old>", 1_234_567, 5000)
    assert (table["age_days"], table["revision"], table["run"]) == (12.0, "0003", "0003-up-1")
    assert (column["bytes"], column["age_days"]) == (None, 3.0)
    (gone,) = found["gone"]
    assert (gone["gone_why"], gone["age_days"]) == ("removed after 30 day(s)", 40.0)


def test_a_person_reads_the_same_on_a_page() -> None:
    answer = client().get("/parked", user="ann", accept="text/html")
    assert "&lt;old&gt;" in answer.text
    assert "<old>" not in answer.text
    assert "1,234,567 bytes, and 1 of unknown size" in answer.text
    assert "12 days" in answer.text
    assert 'href="/airflow/lockstep/drift"' in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_an_empty_list_is_a_page_too() -> None:
    assert "None." in client(found=[]).get("/parked", user="ann", accept="text/html").text


def test_drift_is_shown_by_object_with_both_definitions() -> None:
    assert client(DRIFT).get("/drift", user="ann").json() == DRIFT
    text = client(DRIFT).get("/drift", user="ann", accept="text/html").text
    assert "campus_auth: table users is changed" in text
    assert "x &lt;int&gt;" in text
    assert text.count("<th>is</th>") == 1
    assert text.count("<th>was</th>") == 2
    assert "with run 0003-up-1, 2026-05-01T00:00:00 UTC: 7 object(s)" in text


def test_before_the_first_comparison_the_page_says_how_to_have_one() -> None:
    none = client(DataError("there is none"))
    assert none.get("/drift", user="ann").json()["differences"] == []
    assert "trigger the DAG housekeeping" in none.get("/drift", user="ann", accept="text/html").text
    calm = client({**DRIFT, "differences": []}).get("/drift", user="ann", accept="text/html").text
    assert "Every database is as the last run" in calm


def test_a_vault_that_is_down_is_503() -> None:
    assert client(Unavailable("the vault does not answer")).get("/drift", user="ann").status_code == 503
