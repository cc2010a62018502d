"""The history is append-only, and an edit behind its back is found."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from ledgers import fresh_ledger, opened, sql

from lockstep.domain.status import Status
from lockstep.stores.ledger import PostgresLedger

if TYPE_CHECKING:
    from addresses import Addresses


@pytest.fixture
def fresh(servers: Addresses) -> Iterator[tuple[PostgresLedger, str]]:
    with fresh_ledger(servers) as made:
        opened(made[0])
        with made[0].unit() as unit:
            for number in range(1, 6):
                unit.note("r1", f"kind {number}", {"n": number, "ü": [1.5, None, True]})
        yield made


@pytest.fixture
def ledger(fresh: tuple[PostgresLedger, str]) -> PostgresLedger:
    return fresh[0]


def tamper(conninfo: str, statement: str) -> None:
    """Do what a superuser can, who takes the trigger away first."""
    with sql(conninfo) as db:
        db.execute("ALTER TABLE _migration_history DISABLE TRIGGER _migration_history_append_only")
        db.execute(statement)
        db.execute("ALTER TABLE _migration_history ENABLE ALWAYS TRIGGER _migration_history_append_only")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE _migration_history SET who = 'nobody'",
        "UPDATE _migration_history SET who = who WHERE false",
        "DELETE FROM _migration_history WHERE id = 3",
        "TRUNCATE _migration_history",
        "INSERT INTO _migration_history SELECT * FROM _migration_history"
        " ON CONFLICT (id) DO UPDATE SET who = 'nobody'",
    ],
)
@pytest.mark.parametrize("role", ["origin", "replica"])
def test_the_history_refuses_to_be_changed(
    fresh: tuple[PostgresLedger, str], statement: str, role: str
) -> None:
    ledger, conninfo = fresh
    before = ledger.history()
    with sql(conninfo) as db:
        db.execute(f"SET session_replication_role = {role}")
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="append-only"):
            db.execute(statement)
    assert ledger.history() == before


def test_an_untouched_history_verifies(ledger: PostgresLedger) -> None:
    assert ledger.verify_history() is None


def test_an_empty_history_verifies(servers: Addresses) -> None:
    with fresh_ledger(servers) as (ledger, _):
        assert ledger.history() == []
        assert ledger.verify_history() is None


@pytest.mark.parametrize(
    "edit",
    [
        "who = 'nobody'",
        "reason = 'it was fine'",
        "kind = 'other'",
        "at = at - interval '1 microsecond'",
        "run_id = NULL",
        "revision = '0002'",
        "to_status = 'applied'",
        "from_status = 'pending'",
        "detail = detail || '{\"n\": 4}'",
        "hash = repeat('0', 64)",
        "prev_hash = ''",
    ],
)
def test_an_entry_that_was_edited_is_named(fresh: tuple[PostgresLedger, str], edit: str) -> None:
    ledger, conninfo = fresh
    tamper(conninfo, f"UPDATE _migration_history SET {edit} WHERE id = 3")
    assert ledger.verify_history() == "3"


@pytest.mark.parametrize(
    ("condition", "broken"), [("id = 1", "1"), ("id = 3", "3"), ("id >= 4", "4"), ("true", "1")]
)
def test_an_entry_that_was_removed_is_named(
    fresh: tuple[PostgresLedger, str], condition: str, broken: str
) -> None:
    ledger, conninfo = fresh
    tamper(conninfo, f"DELETE FROM _migration_history WHERE {condition}")
    assert ledger.verify_history() == broken


def test_an_entry_that_was_slipped_in_is_named(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    with sql(conninfo) as db:
        db.execute(
            "INSERT INTO _migration_history SELECT 6, at, revision, run_id, kind, from_status, to_status, reason,"
            " who, detail, hash, hash FROM _migration_history WHERE id = 5"
        )
    assert ledger.verify_history() == "6"


def test_a_chain_sealed_anew_to_its_end_is_named_at_its_end(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    tamper(conninfo, "DELETE FROM _migration_history WHERE id = 5")
    with sql(conninfo) as db:
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="moves on from entry 5"):
            db.execute("UPDATE _migration_chain SET last_id = 4")
        db.execute("ALTER TABLE _migration_chain DISABLE TRIGGER ALL")
        db.execute("UPDATE _migration_chain SET last_id = 4")
    assert ledger.verify_history() == "4"


def test_a_history_of_several_pages_verifies(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    with ledger.unit() as unit:
        for number in range(1100):
            unit.note("r1", "many", {"n": number})
    assert ledger.verify_history() is None
    tamper(conninfo, "UPDATE _migration_history SET kind = 'x' WHERE id = 1050")
    assert ledger.verify_history() == "1050"


def test_entries_are_plain_json_oldest_first_and_by_revision(ledger: PostgresLedger) -> None:
    with ledger.unit() as unit:
        unit.note(None, "schema", {"version": 1})
        unit.set_status("0001", Status.UPGRADING, run_id="r1", reason="ada said so")
    entries = json.loads(json.dumps(ledger.history()))
    assert [entry["id"] for entry in entries] == list(range(1, 8))
    assert datetime.fromisoformat(entries[0]["at"]).utcoffset() == timedelta(0)
    assert (entries[5]["who"], entries[5]["revision"], entries[5]["run_id"]) == ("scheduler", None, None)
    assert entries[6]["reason"] == "ada said so"
    assert [entry["id"] for entry in ledger.history("0001")] == [1, 2, 3, 4, 5, 7]
    assert ledger.history("0002") == []


def test_units_at_once_append_without_gaps(ledger: PostgresLedger) -> None:
    def note(number: int) -> None:
        with ledger.unit() as unit:
            unit.note("r1", "at once", {"n": number})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(note, range(40)))
    assert [entry["id"] for entry in ledger.history()] == list(range(1, 46))
    assert ledger.verify_history() is None


JSON = some.recursive(
    some.none()
    | some.booleans()
    | some.integers(-(10**30), 10**30)
    | some.floats()
    | some.text(some.characters(exclude_categories=()))
    | some.datetimes(),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(
    deadline=None,
    max_examples=int(os.environ.get("LOCKSTEP_TEST_EXAMPLES", "60")),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(detail=some.dictionaries(some.text(), JSON, max_size=4), kind=some.text(min_size=1))
def test_whatever_is_noted_is_sealed_so_that_it_verifies(
    ledger: PostgresLedger, detail: dict[str, object], kind: str
) -> None:
    with ledger.unit() as unit:
        unit.note("r1", kind, detail)
    assert ledger.verify_history() is None
