"""Who may write: leases, shards, batches; and the backups of a run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest
from ledgers import a_batch, a_run, claimed, fresh_ledger, opened, sql, wait_until_blocked

from lockstep.domain.backups import Proof
from lockstep.domain.errors import Refused, StaleEpoch
from lockstep.domain.progress import BackupFile, Fingerprint, KeyRange, Manifest, Progress
from lockstep.domain.run import Caller, RunStatus
from lockstep.stores.ledger import PostgresLedger

if TYPE_CHECKING:
    from addresses import Addresses

HALVES = [KeyRange(upper="m", label="to m"), KeyRange(lower="m", label="from m")]


@pytest.fixture
def fresh(servers: Addresses) -> Iterator[tuple[PostgresLedger, str]]:
    with fresh_ledger(servers) as made:
        opened(made[0])
        yield made


@pytest.fixture
def ledger(fresh: tuple[PostgresLedger, str]) -> PostgresLedger:
    return fresh[0]


def test_epochs_only_rise(ledger: PostgresLedger) -> None:
    drawn = [ledger.next_epoch() for _ in range(3)]
    assert drawn == sorted(set(drawn))
    assert claimed(ledger).epoch > drawn[-1]


def test_a_lease_that_nobody_took_has_no_age(ledger: PostgresLedger) -> None:
    assert ledger.lease_age("r1") is None
    assert ledger.lease_age("r9") is None


def test_a_lease_is_held_until_it_runs_out_on_the_ledgers_clock(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    ledger.heartbeat("r1", 1, 3600)
    age = ledger.lease_age("r1")
    assert age is not None
    assert -3600 <= age < -3000
    with sql(conninfo) as db:
        db.execute("UPDATE _migration_leases SET expires_at = clock_timestamp() - interval '50 seconds'")
    age = ledger.lease_age("r1")
    assert age is not None
    assert 50 <= age < 600


def test_after_a_takeover_the_first_worker_is_stale_and_the_second_holds_the_lease(
    fresh: tuple[PostgresLedger, str],
) -> None:
    ledger, conninfo = fresh
    ledger.heartbeat("r1", 1, 3600)
    with sql(conninfo) as db:
        db.execute("UPDATE _migration_leases SET expires_at = '2001-01-01Z'")
    with ledger.unit() as unit:
        unit.change_run("r1", caller=Caller(dag_id="revision_0001", dag_run_id="manual__2"), epoch=2)
    ledger.heartbeat("r1", 2, 3600)
    with pytest.raises(StaleEpoch, match=r"taken over by revision_0001 / manual__2 \(epoch 2, ours 1\)"):
        ledger.heartbeat("r1", 1, 3600)
    with sql(conninfo) as db:
        assert db.execute("SELECT epoch FROM _migration_leases").fetchall() == [{"epoch": 2}]


def test_a_heartbeat_waits_for_a_takeover_that_is_committing(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    with ThreadPoolExecutor(1) as pool:
        with ledger.unit() as unit:
            unit.change_run("r1", epoch=2)
            beat = pool.submit(ledger.heartbeat, "r1", 1, 3600)
            wait_until_blocked(conninfo)
        with pytest.raises(StaleEpoch):
            beat.result()
    assert ledger.lease_age("r1") is None


def test_a_heartbeat_of_no_run_is_refused(ledger: PostgresLedger) -> None:
    with pytest.raises(Refused, match="no run 'r9'"):
        ledger.heartbeat("r9", 1, 60)


def test_shards_are_planned_once(ledger: PostgresLedger) -> None:
    planned = ledger.plan_shards("r1", "upgrade", 1, HALVES)
    assert [(one.shard, one.label, one.lower, one.upper, one.state, one.epoch) for one in planned] == [
        (0, "to m", None, "m", "planned", 0),
        (1, "from m", "m", None, "planned", 0),
    ]
    assert ledger.plan_shards("r1", "upgrade", 1, [KeyRange()]) == planned
    assert ledger.shards("r1", "upgrade") == planned


def test_planners_of_one_step_take_turns(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    with sql(conninfo) as db, ThreadPoolExecutor(2) as pool:
        db.execute("BEGIN")
        db.execute("SELECT FROM _migration_runs FOR UPDATE")
        plans = [pool.submit(ledger.plan_shards, "r1", "upgrade", 1, HALVES[:n]) for n in (1, 2)]
        wait_until_blocked(conninfo, 2)
        db.execute("COMMIT")
        assert plans[0].result() == plans[1].result()


def test_shards_of_no_run_are_refused(ledger: PostgresLedger) -> None:
    with pytest.raises(Refused, match="no run 'r9'"):
        ledger.plan_shards("r9", "upgrade", 1, HALVES)
    with pytest.raises(Refused, match="no shard 0 in upgrade step 1"):
        ledger.claim("r1", "upgrade", 1, 0, "w")


def test_shards_come_in_order_of_phase_step_and_number(ledger: PostgresLedger) -> None:
    for phase, step in (("upgrade", 2), ("undo", 1), ("upgrade", 1)):
        ledger.plan_shards("r1", phase, step, HALVES)
    assert [(one.step, one.shard) for one in ledger.shards("r1", "upgrade")] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]
    assert len(ledger.shards("r1")) == 6
    assert [one.step for one in ledger.shards("r1", "undo")] == [1, 1]


def test_a_claim_gives_progress_and_a_fence_that_saves(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    progress = Progress(cursor="k", batches=1, read=10, written=9, inserted=1)
    ledger.save(fence, progress)
    (shard,) = ledger.shards("r1", "upgrade")
    assert (shard.state, shard.epoch, shard.progress) == ("running", fence.epoch, progress)
    again, seen = ledger.claim("r1", "upgrade", 1, 0, "second worker")
    assert again.epoch > fence.epoch
    assert seen.progress == progress


def test_a_zombie_writes_nothing(ledger: PostgresLedger) -> None:
    zombie = claimed(ledger)
    ledger.win_batch(zombie, a_batch())
    fence, _ = ledger.claim("r1", "upgrade", 1, 0, "second worker")
    before = ledger.shards("r1"), ledger.batches("r1", "upgrade", 1)
    for write in (
        lambda: ledger.save(zombie, Progress(cursor="z", done=True)),
        lambda: ledger.win_batch(zombie, a_batch(2)),
        lambda: ledger.close_batch(zombie, a_batch(), "applied"),
    ):
        with pytest.raises(StaleEpoch, match=f"second worker has it, with epoch {fence.epoch}"):
            write()
    assert (ledger.shards("r1"), ledger.batches("r1", "upgrade", 1)) == before


def test_a_write_waits_for_a_claim_that_is_committing(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    fence = claimed(ledger)
    with sql(conninfo) as db, ThreadPoolExecutor(2) as pool:
        db.execute("BEGIN")
        db.execute("UPDATE _migration_shards SET epoch = nextval('_migration_epoch'), holder = 'another'")
        writes = [
            pool.submit(ledger.save, fence, Progress(cursor="late")),
            pool.submit(ledger.win_batch, fence, a_batch()),
        ]
        wait_until_blocked(conninfo, 2)
        db.execute("COMMIT")
        for write in writes:
            with pytest.raises(StaleEpoch, match="another has it"):
                write.result()
    assert ledger.batches("r1", "upgrade", 1) == []


def test_of_two_claims_at_once_the_last_has_the_highest_epoch(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    ledger.plan_shards("r1", "upgrade", 1, [KeyRange()])
    with sql(conninfo) as db, ThreadPoolExecutor(2) as pool:
        db.execute("BEGIN")
        db.execute("SELECT FROM _migration_shards FOR UPDATE")
        claims = [pool.submit(ledger.claim, "r1", "upgrade", 1, 0, name) for name in "ab"]
        wait_until_blocked(conninfo, 2)
        db.execute("COMMIT")
        epochs = {claim.result()[0].epoch for claim in claims}
    assert len(epochs) == 2
    assert ledger.shards("r1")[0].epoch == max(epochs)


def test_a_shard_that_is_done_stays_done_when_it_is_claimed_again(ledger: PostgresLedger) -> None:
    ledger.save(claimed(ledger), Progress(cursor="end", batches=3, done=True))
    assert ledger.shards("r1")[0].state == "done"
    _, shard = ledger.claim("r1", "upgrade", 1, 0, "second worker")
    assert (shard.state, shard.progress.done) == ("done", True)


def test_a_batch_is_won_once(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    ledger.win_batch(fence, a_batch())
    with pytest.raises(StaleEpoch, match="batch 1 was won before"):
        ledger.win_batch(fence, a_batch(path="another"))
    assert ledger.batches("r1", "upgrade", 1) == [a_batch()]


def test_a_batch_and_its_shards_progress_are_closed_together(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    ledger.win_batch(fence, a_batch())
    assert ledger.shards("r1")[0].progress == Progress()
    done = a_batch(path="journal/1.done", sha256="b" * 64)
    ledger.close_batch(fence, done, "applied")
    assert ledger.batches("r1", "upgrade", 1, 0) == [replace(done, state="applied")]
    assert ledger.shards("r1")[0].progress == done.progress


def test_closing_a_batch_that_nobody_won_is_refused_and_moves_nothing(ledger: PostgresLedger) -> None:
    fence = claimed(ledger)
    with pytest.raises(Refused, match="no batch 7"):
        ledger.close_batch(fence, a_batch(7), "applied")
    assert ledger.shards("r1")[0].progress == Progress()


def test_batches_come_in_the_order_in_which_they_were_won(ledger: PostgresLedger) -> None:
    ledger.plan_shards("r1", "upgrade", 1, HALVES)
    fences = [ledger.claim("r1", "upgrade", 1, shard, "w")[0] for shard in (0, 1)]
    won = [(1, 1), (0, 1), (0, 2), (1, 2)]
    for shard, batch in won:
        ledger.win_batch(fences[shard], a_batch(batch, shard=shard))
    assert [(one.shard, one.batch) for one in ledger.batches("r1", "upgrade", 1)] == won
    assert [one.batch for one in ledger.batches("r1", "upgrade", 1, 1)] == [1, 2]
    ledger.set_batch_state("r1", "upgrade", a_batch(2), "undone")
    assert [one.state for one in ledger.batches("r1", "upgrade", 1, 0)] == ["won", "undone"]


def a_manifest(conn_id: str = "campus_auth", **changes: object) -> Manifest:
    manifest = Manifest(
        run_id="r1",
        conn_id=conn_id,
        kind="table",
        path=f"backups/r1/{conn_id}/manifest.json",
        taken_at=datetime(2026, 5, 6, 7, 8, 9, 123456, tzinfo=timezone.utc),
        files=(
            BackupFile(path="a/ü.dump", size=5_000_000_000, sha256="f" * 64, holds="dump", count=7),
            BackupFile(path="b", size=0, sha256="0" * 64, holds="metadata"),
        ),
        fingerprints={"users": Fingerprint(present=True, count=7, keys="k", content="c", shape="s")},
        made_by={"server": "PostgreSQL 18"},
    )
    return replace(manifest, **changes)  # type: ignore[arg-type]


def test_backups_come_back_as_they_were(ledger: PostgresLedger) -> None:
    both = [a_manifest("campus_api"), a_manifest("campus_auth")]
    for manifest in reversed(both):
        ledger.save_backup(manifest, proof=None)
    assert ledger.backups("r1") == both
    assert ledger.backups("r9") == []


def test_a_backup_taken_again_replaces_the_first_and_is_unproven(ledger: PostgresLedger) -> None:
    ledger.save_backup(a_manifest(), proof=Proof.RESTORE)
    again = a_manifest(made_by={"server": "PostgreSQL 19"})
    ledger.save_backup(again, proof=None)
    assert ledger.backups("r1") == [again]
    assert [one.proof for one in ledger.stored_backups()] == [None]


def test_a_backup_of_no_run_is_refused(ledger: PostgresLedger) -> None:
    with pytest.raises(Refused, match="does not know the run"):
        ledger.save_backup(a_manifest(run_id="r9"), proof=None)


def test_threads_share_a_ledger(ledger: PostgresLedger) -> None:
    with ledger.unit() as unit:
        unit.change_run("r1", status=RunStatus.STOPPED)
        for number in range(2, 6):
            unit.add_run(a_run(f"r{number}", status=RunStatus.STOPPED))
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda n: ledger.run(f"r{n % 5 + 1}").id, range(100))
        assert list(found) == [f"r{n % 5 + 1}" for n in range(100)]
