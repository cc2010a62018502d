"""One writer a shard: whoever was taken over writes nothing, neither at the start nor at the commit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from postgres_tables import ALL, DB, Room, emptied_room, fresh_database, wait_until_blocked

from addresses import Addresses
from lockstep.domain.errors import DataError, StaleEpoch
from lockstep.domain.progress import Fence, Progress
from lockstep.domain.resources import Table
from lockstep.stores.postgres import PostgresStore

COUNTERS = Table(DB, "counters")
FAR = Progress(cursor='["k"]', batches=3, read=30, written=20, inserted=10, quarantined=2, done=True)


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql("CREATE TABLE counters (id text PRIMARY KEY, n int NOT NULL)")
        made.sql("INSERT INTO counters VALUES ('k', 0)")
        yield made


@pytest.fixture
def other(room: Room) -> Iterator[PostgresStore]:
    """A second worker's store on the same database."""
    store = PostgresStore(DB, room.conninfo)
    yield store
    store.close()


def add_one(store: PostgresStore, fence: Fence, progress: Progress = FAR) -> None:
    with store.unit(fence) as unit:
        unit.execute(["UPDATE counters SET n = n + 1"], lock_timeout=5)
        unit.advance(progress)


def counted(room: Room) -> int:
    found: int = room.value("SELECT n FROM counters")
    return found


def test_a_new_shard_has_made_no_progress_and_a_committed_one_is_remembered(room: Room) -> None:
    fence = Fence(run_id="r1", phase="upgrade", step=2, shard=3, epoch=1)
    assert room.store.claim(fence) == Progress()
    add_one(room.store, fence)
    assert room.store.claim(replace(fence, epoch=2)) == FAR
    assert room.store.progress("r1", "upgrade") == {(2, 3): FAR}
    assert room.store.progress("r1", "undo") == {}


def test_rows_and_checkpoint_commit_together_or_not_at_all(room: Room) -> None:
    fence = room.claimed()

    def crash() -> None:
        with room.store.unit(fence) as unit:
            unit.execute(["UPDATE counters SET n = 99"], lock_timeout=5)
            unit.advance(FAR)
            raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        crash()
    assert counted(room) == 0
    assert room.store.progress("r1", "upgrade") == {(1, 0): Progress()}


def test_a_unit_that_does_not_advance_keeps_the_checkpoint(room: Room) -> None:
    fence = room.claimed()
    add_one(room.store, fence)
    with room.store.unit(fence) as unit:
        unit.execute(["UPDATE counters SET n = n + 1"], lock_timeout=5)
    assert counted(room) == 2
    assert room.store.progress("r1", "upgrade")[1, 0] == FAR


def test_a_worker_that_was_taken_over_is_stopped_before_it_does_anything(room: Room) -> None:
    old = room.claimed()
    new = room.claimed()
    done = []
    with pytest.raises(StaleEpoch, match=r"epoch 1.*now epoch 2"), room.store.unit(old):
        done.append("work")
    assert not done
    with pytest.raises(StaleEpoch):
        room.store.claim(old)
    add_one(room.store, new)
    assert counted(room) == 1


def test_a_shard_that_was_never_claimed_cannot_be_worked_on(room: Room) -> None:
    fence = Fence(run_id="r1", phase="upgrade", step=1, shard=0, epoch=1)
    with pytest.raises(StaleEpoch, match="never claimed"), room.store.unit(fence):
        pass


@pytest.mark.parametrize("advances", [True, False])
def test_an_epoch_that_rose_meanwhile_stops_the_commit(room: Room, advances: bool) -> None:
    fence = room.claimed()

    def work() -> None:
        with room.store.unit(fence) as unit:
            unit.execute(["UPDATE counters SET n = 99"], lock_timeout=5)
            if advances:
                unit.advance(FAR)
            unit.handle.execute("UPDATE lockstep_state.checkpoints SET epoch = epoch + 1")

    with pytest.raises(StaleEpoch):
        work()
    assert counted(room) == 0
    assert room.store.progress("r1", "upgrade")[1, 0] == Progress()


def test_a_claim_waits_for_the_batch_in_hand_and_then_has_its_progress(
    room: Room, other: PostgresStore
) -> None:
    fence = room.claimed()
    with ThreadPoolExecutor() as pool:
        with room.store.unit(fence) as unit:
            unit.execute(["UPDATE counters SET n = n + 1"], lock_timeout=5)
            unit.advance(FAR)
            later = pool.submit(other.claim, replace(fence, epoch=7))
            wait_until_blocked(room.conninfo)
        assert later.result() == FAR
    with pytest.raises(StaleEpoch):
        add_one(room.store, fence)
    assert counted(room) == 1


def test_two_units_of_one_shard_go_one_after_the_other(room: Room, other: PostgresStore) -> None:
    fence = room.claimed()
    with ThreadPoolExecutor() as pool:
        with room.store.unit(fence) as unit:
            second = pool.submit(add_one, other, fence)
            wait_until_blocked(room.conninfo)
            unit.execute(["UPDATE counters SET n = 10"], lock_timeout=5)
        second.result()
    assert counted(room) == 11


def test_two_shards_work_side_by_side(room: Room, other: PostgresStore) -> None:
    one, two = room.claimed(shard=0), room.claimed(shard=1)
    with room.store.unit(one) as first, other.unit(two) as second:
        first.advance(Progress(read=1))
        second.advance(Progress(read=2))
    assert {key: p.read for key, p in room.store.progress("r1", "upgrade").items()} == {(1, 0): 1, (1, 1): 2}


def test_a_fenced_off_run_is_written_by_nobody_older_not_even_in_shards_yet_to_come(room: Room) -> None:
    old = room.claimed()
    room.store.fence_off("r1", 10)
    with pytest.raises(StaleEpoch):
        add_one(room.store, old)
    for epoch, step in ((9, 1), (9, 5)):
        with pytest.raises(StaleEpoch):
            room.store.claim(replace(old, epoch=epoch, step=step))
    room.store.fence_off("r1", 5)
    with pytest.raises(StaleEpoch):
        room.store.claim(replace(old, epoch=9))
    assert room.store.claim(replace(old, epoch=10)) == Progress()
    assert room.store.claim(replace(old, run_id="r2")) == Progress()
    assert counted(room) == 0


def test_fencing_off_waits_for_the_batch_in_hand(room: Room, other: PostgresStore) -> None:
    fence = room.claimed()
    with ThreadPoolExecutor() as pool:
        with room.store.unit(fence) as unit:
            fenced = pool.submit(other.fence_off, "r1", 10)
            wait_until_blocked(room.conninfo)
            unit.execute(["UPDATE counters SET n = n + 1"], lock_timeout=5)
            unit.advance(FAR)
        fenced.result()
    assert counted(room) == 1
    with pytest.raises(StaleEpoch):
        add_one(room.store, fence)


def test_one_shard_of_an_undo_does_not_stop_another_by_raising_the_fence(room: Room) -> None:
    first = room.claimed(phase="undo", shard=0)
    room.store.fence_off("r1", 10)
    add_one(room.store, first)
    assert counted(room) == 1


def test_a_driver_error_of_the_authors_own_leaves_as_a_lockstep_error(room: Room) -> None:
    with pytest.raises(DataError, match="nowhere"), room.unit() as unit:
        unit.handle.execute("SELECT * FROM nowhere")
    with pytest.raises(DataError, match="nowhere"), room.store.handle() as conn:
        conn.execute("SELECT * FROM nowhere")


def test_a_handle_commits_when_its_block_ends_well_and_only_then(room: Room) -> None:
    def set_to(n: int, fails: bool) -> None:
        with room.store.handle() as conn:
            conn.execute("UPDATE counters SET n = %s", (n,))
            if fails:
                raise RuntimeError("crash")

    set_to(5, fails=False)
    with pytest.raises(RuntimeError, match="crash"):
        set_to(6, fails=True)
    assert counted(room) == 5


def test_journal_entries_are_filed_under_the_step_that_was_set(room: Room) -> None:
    with room.unit(step=0) as unit:
        for step in (1, 2):
            unit.step = step
            unit.update_range(
                COUNTERS, {"n": "n + 1"}, where=None, within=ALL, after=None, limit=10, journal=True
            )
    room.take_back(step=2)
    assert counted(room) == 1
    room.take_back(step=1)
    assert counted(room) == 0
