"""State, history and outbox change together, along the edges of the state machine, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from threading import Event
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from ledgers import LONG_AGO, Heard, a_revision, a_run, fresh_ledger, opened, sql

from lockstep.domain.errors import DataError, Refused, Unavailable
from lockstep.domain.run import Caller
from lockstep.domain.status import EDGES, RunStatus, Status
from lockstep.stores.ledger import PostgresLedger
from lockstep.stores.ledger import unit as unit_module
from lockstep.stores.ledger.connect import Db

if TYPE_CHECKING:
    from addresses import Addresses

LEGAL = [(current, wanted) for current, ways in EDGES.items() for wanted in ways]
ILLEGAL = [(current, wanted) for current in Status for wanted in Status if (current, wanted) not in LEGAL]


@pytest.fixture
def fresh(servers: Addresses) -> Iterator[tuple[PostgresLedger, str]]:
    with fresh_ledger(servers) as made:
        yield made


@pytest.fixture
def ledger(fresh: tuple[PostgresLedger, str]) -> PostgresLedger:
    return fresh[0]


@pytest.fixture(scope="module")
def edges(servers: Addresses) -> Iterator[tuple[PostgresLedger, str]]:
    """One ledger for all edges: each test sets the status it starts from."""
    with fresh_ledger(servers) as made:
        opened(made[0])
        yield made


def put(conninfo: str, status: Status) -> None:
    with sql(conninfo) as db:
        db.execute("UPDATE _migrations SET status = %s", [status.value])


@pytest.mark.parametrize(("current", "wanted"), ILLEGAL)
def test_an_edge_that_is_none_is_refused_and_nothing_is_written(
    edges: tuple[PostgresLedger, str], current: Status, wanted: Status
) -> None:
    ledger, conninfo = edges
    put(conninfo, current)
    before = ledger.revisions(), ledger.history()
    with ledger.unit() as unit, pytest.raises(Refused, match=f"is {current} and cannot become {wanted}"):
        unit.set_status("0001", wanted, run_id="r1")
    assert (ledger.revisions(), ledger.history()) == before


@pytest.mark.parametrize(("current", "wanted"), LEGAL)
def test_an_edge_is_walked_and_written_down_with_its_reason(
    edges: tuple[PostgresLedger, str], current: Status, wanted: Status
) -> None:
    ledger, conninfo = edges
    put(conninfo, current)
    with ledger.unit() as unit:
        unit.set_status("0001", wanted, run_id="r1")
    assert ledger.revisions()["0001"].status is wanted
    last = ledger.history("0001")[-1]
    said = {"kind", "from_status", "to_status", "reason", "who", "run_id"}
    assert {name: last[name] for name in said} == {
        "kind": "status",
        "from_status": current.value,
        "to_status": wanted.value,
        "reason": EDGES[current][wanted],
        "who": "ada",
        "run_id": "r1",
    }
    assert ledger.verify_history() is None


def walk(ledger: PostgresLedger, *statuses: Status, run_id: str = "r1", **more: Any) -> None:
    for status in statuses:
        with ledger.unit() as unit:
            unit.set_status("0001", status, run_id=run_id, **more)


def test_times_and_runs_follow_from_the_status(ledger: PostgresLedger) -> None:
    opened(ledger)
    walk(ledger, Status.UPGRADING)
    state = ledger.revisions()["0001"]
    assert (state.applied_at, state.applied_run, state.last_run) == (None, None, "r1")
    walk(ledger, Status.APPLIED)
    applied = ledger.revisions()["0001"]
    assert applied.applied_at is not None
    assert (applied.applied_run, applied.rollback_at) == ("r1", None)
    with ledger.unit() as unit:
        unit.change_run("r1", status=RunStatus.APPLIED)
        unit.add_run(a_run("r2", direction="downgrade", source_run="r1"))
    walk(ledger, Status.ROLLING_BACK, Status.ROLLED_BACK, run_id="r2")
    back = ledger.revisions()["0001"]
    assert back.rollback_at is not None
    assert back.rollback_at > applied.applied_at
    assert (back.applied_at, back.applied_run, back.last_run) == (applied.applied_at, "r1", "r2")
    walk(ledger, Status.UPGRADING, Status.APPLIED, run_id="r2")
    again = ledger.revisions()["0001"]
    assert (again.rollback_at, again.applied_run) == (None, "r2")


def test_an_error_is_kept_until_the_next_attempt(ledger: PostgresLedger) -> None:
    opened(ledger)
    walk(ledger, Status.UPGRADING)
    walk(ledger, Status.ROLLING_BACK, error="users, record 'u1': bad\0mail \ud800")
    walk(ledger, Status.ROLLED_BACK)
    assert ledger.revisions()["0001"].error_message == "users, record 'u1': bad\\0mail \\ud800"
    assert ledger.history()[1]["detail"]["error"] == "users, record 'u1': bad\\0mail \\ud800"
    walk(ledger, Status.UPGRADING)
    assert ledger.revisions()["0001"].error_message is None


def test_a_very_long_error_is_cut_and_says_so(ledger: PostgresLedger) -> None:
    opened(ledger)
    walk(ledger, Status.UPGRADING)
    walk(ledger, Status.FAILED, error="x" * 1_000_000)
    kept = ledger.revisions()["0001"].error_message or ""
    assert len(kept) < 21_000
    assert kept.endswith("… (980000 more characters)")


def test_an_error_inside_the_unit_takes_everything_back(ledger: PostgresLedger) -> None:
    before = opened(ledger)

    def change_everything_and_fail() -> None:
        with ledger.unit() as unit:
            unit.set_status("0001", Status.UPGRADING, run_id="r1")
            unit.change_run("r1", backed_up=True)
            unit.note("r1", "said", {})
            unit.say("r1", "migration.started", {"n": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_everything_and_fail()
    assert ledger.run("r1") == before
    assert ledger.revisions()["0001"].status is Status.PENDING
    assert ledger.history() == []
    assert ledger.pending_events() == 0


def test_a_statement_that_failed_is_not_committed_over(ledger: PostgresLedger) -> None:
    opened(ledger)

    def swallow_an_error() -> None:
        with ledger.unit() as unit:
            unit.note("r1", "said", {})
            with suppress(psycopg.DataError):
                unit._db.execute("SELECT 'text'::int")

    with pytest.raises(DataError, match="nothing of it was written"):
        swallow_an_error()
    assert ledger.history() == []


def test_status_history_and_event_commit_together(ledger: PostgresLedger) -> None:
    opened(ledger)
    with ledger.unit() as unit:
        unit.set_status("0001", Status.UPGRADING, run_id="r1")
        event = unit.say("r1", "migration.started", {"n": 1})
        assert ledger.revisions()["0001"].status is Status.PENDING
        assert ledger.pending_events() == 0
    assert ledger.revisions()["0001"].status is Status.UPGRADING
    assert ledger.pending_events() == 1
    sink = Heard()
    ledger.deliver(sink)
    assert sink.events[0][0].id == event


def test_a_revision_that_was_never_registered_is_refused(ledger: PostgresLedger) -> None:
    opened(ledger)
    with ledger.unit() as unit, pytest.raises(Refused, match="'0009'"):
        unit.set_status("0009", Status.UPGRADING, run_id="r1")


def test_registering_refreshes_what_is_in_no_database_and_nothing_else(ledger: PostgresLedger) -> None:
    opened(ledger)
    edited = a_revision(description="Add names.", storage_type="document", checksum="d" * 64)
    with ledger.unit() as unit:
        unit.register(edited)
    assert ledger.revisions()["0001"] == edited
    walk(ledger, Status.UPGRADING)
    with ledger.unit() as unit:
        unit.register(a_revision(description="Something else", checksum="e" * 64))
    kept = ledger.revisions()["0001"]
    assert (kept.description, kept.status) == ("Add names.", Status.UPGRADING)
    assert kept.checksum == "c" * 64  # the run's: what is being applied


def test_a_second_open_run_is_refused_naming_the_first(ledger: PostgresLedger) -> None:
    opened(ledger)
    with ledger.unit() as unit:
        with pytest.raises(Refused, match=r"run 'r1' \(upgrade of '0001', revision_0001 / manual__1\) is"):
            unit.add_run(a_run("r2"))
        unit.add_run(a_run("r3", status=RunStatus.NOTHING_TO_DO))
        with pytest.raises(Refused, match="'r3' cannot be open: run 'r1'"):
            unit.change_run("r3", status=RunStatus.OPEN)
        unit.note("r1", "the unit goes on", {})
    assert [run.id for run in ledger.runs()] == ["r3", "r1"]
    assert ledger.history()[-1]["kind"] == "the unit goes on"


def test_a_run_id_is_taken_once(ledger: PostgresLedger) -> None:
    opened(ledger)
    with ledger.unit() as unit, pytest.raises(Refused, match="has a run 'r1' already"):
        unit.add_run(a_run("r1", status=RunStatus.STOPPED))


def test_a_run_comes_back_as_it_was_given_but_for_the_clock(ledger: PostgresLedger) -> None:
    given = a_run(
        params={"at": datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "by": {"b", "a"}},
        facts={"ok": True, "n": [1, 2.5, None], "text": "naïve"},
        caller=Caller(dag_id="d", dag_run_id="x", by="ada", parent="migrate/1"),
        source_run="r0",
    )
    with ledger.unit() as unit:
        unit.register(a_revision())
        unit.add_run(given)
    kept = ledger.run("r1")
    assert kept.params == {"at": "2026-01-02T01:00:00+00:00", "by": ["a", "b"]}
    assert (kept.facts, kept.caller, kept.source_run) == (given.facts, given.caller, "r0")
    assert kept.started_at > LONG_AGO + timedelta(days=1)
    assert kept.started_at.utcoffset() == timedelta(0)


def test_changes_of_a_run_merge_facts_and_take_the_ledgers_time(ledger: PostgresLedger) -> None:
    opened(ledger, facts={"kept": 1, "changed": 1})
    with ledger.unit() as unit:
        changed = unit.change_run("r1", facts={"changed": 2}, error="broke", ended_at=LONG_AGO)
        assert changed == unit.run("r1")
    assert changed.facts == {"kept": 1, "changed": 2}
    assert changed.ended_at is not None
    assert changed.ended_at >= changed.started_at
    with ledger.unit() as unit:
        assert unit.change_run("r1", ended_at=None).ended_at is None
        assert unit.change_run("r1", status=RunStatus.FAILED).ended_at is not None
        assert unit.change_run("r1", status=RunStatus.OPEN).ended_at is None
        assert unit.change_run("r1") == unit.run("r1")
        with pytest.raises(TypeError, match="revision"):
            unit.change_run("r1", revision="0002")
        with pytest.raises(Refused, match="no run 'r9'"):
            unit.change_run("r9", error="x")


def test_both_airflow_runs_of_a_run_that_was_taken_over_find_it(ledger: PostgresLedger) -> None:
    run = opened(ledger)
    with ledger.unit() as unit:
        unit.change_run("r1", caller=Caller(dag_id="revision_0001", dag_run_id="manual__2"), epoch=2)
    after = ledger.run_of("revision_0001", "manual__2")
    assert after is not None
    assert (after.id, after.epoch) == ("r1", run.epoch + 1)
    assert ledger.run_of("revision_0001", "manual__1") == after
    assert ledger.run_of("revision_0001", "manual__3") is None


def test_runs_come_latest_first_and_by_revision(ledger: PostgresLedger) -> None:
    for number in range(4):
        with ledger.unit() as unit:
            revision = f"000{number % 2}"
            unit.add_run(a_run(f"r{number}", revision=revision, status=RunStatus.STOPPED))
    assert [run.id for run in ledger.runs(limit=3)] == ["r3", "r2", "r1"]
    assert [run.id for run in ledger.runs("0000")] == ["r2", "r0"]


def test_a_run_that_is_not_there_is_refused(ledger: PostgresLedger) -> None:
    with pytest.raises(Refused, match="no run 'r9'"):
        ledger.run("r9")


def test_a_second_unit_waits_for_the_first_and_keeps_no_connection_meanwhile(
    fresh: tuple[PostgresLedger, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, conninfo = fresh
    opened(ledger)
    turned_away = Event()

    def locked(db: Db, really: Callable[[Db], bool] = unit_module._locked) -> bool:
        if really(db):
            return True
        turned_away.set()
        return False

    monkeypatch.setattr(unit_module, "_locked", locked)

    def second() -> int:
        with ledger.unit() as unit:
            unit.note("r1", "second", {})
            return len(ledger.history())

    with ThreadPoolExecutor(1) as pool:
        with ledger.unit() as unit:
            waiting = pool.submit(second)
            assert turned_away.wait(30)
            with sql(conninfo) as db:
                blocked = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                assert db.execute(blocked).fetchall() == []
            unit.note("r1", "first", {})
        assert waiting.result() == 1
    assert [entry["kind"] for entry in ledger.history()] == ["first", "second"]


def test_a_chain_that_stays_locked_is_unavailable_naming_the_holder_and_the_run(servers: Addresses) -> None:
    with fresh_ledger(servers, lock_timeout=0.05) as (ledger, _):
        opened(ledger)
        with ledger.unit() as unit:
            with pytest.raises(Unavailable, match=r"lockstep .* holds it; run r1 is open") as caught:
                ledger.unit().__enter__()
            assert caught.value.fields["pid"] == unit._db.info.backend_pid
        with ledger.unit() as unit:
            unit.note("r1", "free again", {})
