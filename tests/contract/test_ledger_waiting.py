"""What a run waits for, and what it left behind: pauses, held shards, silent workers, quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from ledgers import a_run, claimed, fresh_ledger, opened, sql

from lockstep.domain.errors import QuarantineFull, Refused, StaleEpoch
from lockstep.domain.progress import KeyRange, Progress
from lockstep.domain.quarantine import Quarantined
from lockstep.domain.run import RunStatus
from lockstep.stores.ledger import PostgresLedger

if TYPE_CHECKING:
    from addresses import Addresses

POISON = Quarantined(key='["7"]', shown="7", error="division by zero.")
WORSE = Quarantined(key='["7"]', shown="7", error="still division by zero.")
OTHER = Quarantined(key='["9"]', shown="9", error="value too long.")


@pytest.fixture
def fresh(servers: Addresses) -> Iterator[tuple[PostgresLedger, str]]:
    with fresh_ledger(servers) as made:
        opened(made[0])
        yield made


@pytest.fixture
def ledger(fresh: tuple[PostgresLedger, str]) -> PostgresLedger:
    return fresh[0]


def test_a_heartbeat_brings_the_ledgers_time_and_the_word_to_pause(ledger: PostgresLedger) -> None:
    first = ledger.heartbeat("r1", 1, 60)
    assert first.pause is None
    paused = ledger.pause("r1", by="olga", reason="the shop is busy")
    assert paused.pause is not None
    assert (paused.pause.by, paused.pause.reason) == ("olga", "the shop is busy")
    second = ledger.heartbeat("r1", 1, 60)
    assert second.pause == paused.pause
    assert first.now <= paused.pause.at <= second.now
    assert ledger.resume("r1", by="otto").pause is None
    assert ledger.heartbeat("r1", 1, 60).pause is None


def test_a_second_pause_does_not_make_the_first_younger(ledger: PostgresLedger) -> None:
    first = ledger.pause("r1", by="olga", reason="a")
    second = ledger.pause("r1", by="otto", reason="b")
    assert first.pause is not None
    assert second.pause is not None
    assert (second.pause.at, second.pause.by) == (first.pause.at, "otto")


def test_pauses_are_in_the_history_and_in_the_outbox(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    ledger.pause("r1", by="olga", reason="busy")
    ledger.resume("r1", by="otto")
    ledger.resume("r1", by="otto")
    told = [(entry["kind"], entry["who"]) for entry in ledger.history() if entry["kind"] != "status"]
    assert told[-2:] == [("paused", "olga"), ("resumed", "otto")]
    assert ledger.verify_history() is None
    with sql(conninfo) as db:
        labels = [row["label"] for row in db.execute("SELECT label FROM _migration_outbox ORDER BY id")]
    assert labels == ["migration.paused", "migration.resumed"]


def test_a_run_that_has_ended_cannot_be_paused(ledger: PostgresLedger) -> None:
    with ledger.unit() as unit:
        unit.change_run("r1", status=RunStatus.STOPPED)
    with pytest.raises(Refused, match="r1 has ended as stopped"):
        ledger.pause("r1", by="olga", reason="")
    with pytest.raises(Refused, match="r9"):
        ledger.pause("r9", by="olga", reason="")


def test_a_held_shard_says_what_it_waits_for_until_it_goes_on(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    ledger.hold(fence, "replication lag: 14 s")
    (held,) = ledger.shards("r1", "upgrade")
    assert (held.state, held.held) == ("held", "replication lag: 14 s")
    ledger.save(fence, Progress(cursor="c", read=5), rate=12.5)
    (going,) = ledger.shards("r1", "upgrade")
    assert (going.state, going.held, going.rate) == ("running", None, 12.5)
    ledger.hold(fence, "a pause")
    again, state = ledger.claim("r1", "upgrade", 1, 0, "another try")
    assert (state.state, state.held, state.progress.read) == ("running", None, 5)
    with pytest.raises(StaleEpoch):
        ledger.hold(fence, "too late")
    ledger.save(again, Progress(done=True))
    ledger.hold(again, "nothing")
    assert ledger.shards("r1", "upgrade")[0].state == "done"


def test_who_has_the_shard_is_told_without_a_lock(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    ledger.refuse_stale(fence)
    ledger.claim("r1", "upgrade", 1, 0, "another")
    with pytest.raises(StaleEpoch, match="another has it"):
        ledger.refuse_stale(fence)


def test_a_worker_is_silent_once_its_lease_ran_out_while_it_worked(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    assert not ledger.silent("r1")
    ledger.heartbeat("r1", 1, 3600)
    fence = claimed(ledger)
    assert not ledger.silent("r1")
    with sql(conninfo) as db:
        db.execute("UPDATE _migration_leases SET expires_at = clock_timestamp() - interval '1 second'")
    assert ledger.silent("r1")
    ledger.hold(fence, "paused for a day")
    assert not ledger.silent("r1")
    ledger.claim("r1", "upgrade", 1, 0, "goes on")
    assert ledger.silent("r1")
    ledger.heartbeat("r1", 1, 3600)
    assert not ledger.silent("r1")


def test_estimates_and_keys_of_shards_are_kept(ledger: PostgresLedger) -> None:
    ranges = [KeyRange(upper="m", estimate=500), KeyRange(lower="m"), KeyRange(keys=("a", "b"), estimate=2)]
    ledger.plan_shards("r1", "upgrade", 3, ranges)
    kept = [(s.estimate, s.keys) for s in ledger.shards("r1", "upgrade") if s.step == 3]
    assert kept == [(500, None), (None, None), (2, ("a", "b"))]


def test_a_record_is_listed_once_with_its_latest_error(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    ledger.quarantine(fence, "auth", "users", [POISON, OTHER], budget=10)
    ledger.quarantine(fence, "auth", "users", [WORSE], budget=10)
    listed = {one.record.shown: one for one in ledger.quarantined("r1")}
    assert {shown: one.record.error for shown, one in listed.items()} == {
        "7": WORSE.error,
        "9": OTHER.error,
    }
    assert (listed["7"].conn_id, listed["7"].resource, listed["7"].step) == ("auth", "users", 1)


def test_who_was_taken_over_lists_nothing(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    ledger.claim("r1", "upgrade", 1, 0, "another")
    with pytest.raises(StaleEpoch):
        ledger.quarantine(fence, "auth", "users", [POISON], budget=10)
    assert ledger.quarantined("r1") == []


def test_what_a_later_run_has_tried_no_longer_waits(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    ledger.quarantine(fence, "auth", "users", [POISON, OTHER], budget=10)
    with ledger.unit() as unit:
        unit.change_run("r1", status=RunStatus.APPLIED_WITH_QUARANTINE)
        unit.add_run(a_run("r2", source_run="r1"))
    ledger.plan_shards("r2", "upgrade", 1, [KeyRange(keys=(POISON.key, OTHER.key))])
    again, _ = ledger.claim("r2", "upgrade", 1, 0, "worker")
    ledger.quarantine(again, "auth", "users", [WORSE], budget=10)
    with ledger.unit() as unit:
        assert unit.resolve("r1", "r2") == 2
    assert [(one.run_id, one.record.shown) for one in ledger.quarantined()] == [("r2", "7")]
    assert {one.resolved_by for one in ledger.quarantined("r1")} == {"r2"}


def test_one_record_more_than_the_budget_is_refused_and_not_listed(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    ledger.quarantine(fence, "auth", "users", [POISON], budget=1)
    ledger.quarantine(fence, "auth", "users", [WORSE], budget=1)
    with pytest.raises(QuarantineFull, match=r"record 9: .* its budget is 1"):
        ledger.quarantine(fence, "auth", "users", [OTHER], budget=1)
    assert [one.record.shown for one in ledger.quarantined("r1")] == ["7"]
