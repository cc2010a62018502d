"""Whoever takes a shard over does not wait for a worker that holds its transaction and stands still."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.errors import LockTimeout, StaleEpoch, Unavailable
from lockstep.domain.progress import Fence, Progress
from lockstep.stores.postgres import PostgresStore, takeover

FENCE = Fence(run_id="r1", phase="upgrade", step=1, shard=0, epoch=5)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "GRACE", 0.3)
    monkeypatch.setattr(takeover, "ROW_TIMEOUT", 2.0)


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
    made = PostgresStore(DB, room.conninfo)
    yield made
    made.close()


def overtaken(store: PostgresStore, fence: Fence, meanwhile: Callable[[], object]) -> None:
    """Write in a unit that stands still while something else happens."""
    with store.unit(fence) as unit:
        unit.execute(["UPDATE counters SET n = n + 1"], lock_timeout=5)
        meanwhile()
        unit.advance(Progress(done=True))


@pytest.mark.parametrize("phase", ["upgrade", "undo"])
def test_a_claim_ends_the_transaction_of_an_earlier_epoch_that_does_not_end_by_itself(
    room: Room, other: PostgresStore, phase: str
) -> None:
    fence = replace(FENCE, phase=phase)  # type: ignore[arg-type]
    room.store.claim(fence)
    with pytest.raises((Unavailable, StaleEpoch)):
        overtaken(room.store, fence, lambda: other.claim(replace(fence, epoch=6)))
    assert other.progress("r1", phase) == {(1, 0): Progress()}
    assert room.value("SELECT n FROM counters") == 0
    with other.unit(replace(fence, epoch=6)) as unit:
        unit.execute(["UPDATE counters SET n = n + 1"], lock_timeout=5)
    assert room.value("SELECT n FROM counters") == 1


def test_a_claim_that_comes_late_does_not_end_the_transaction_of_a_later_epoch(
    room: Room, other: PostgresStore
) -> None:
    room.store.claim(FENCE)
    with room.store.unit(FENCE) as unit:
        unit.execute(["UPDATE counters SET n = n + 1"], lock_timeout=5)
        with pytest.raises(LockTimeout):
            other.claim(replace(FENCE, epoch=4))
    assert room.value("SELECT n FROM counters") == 1


def test_a_claim_ends_no_transaction_of_another_shard(room: Room, other: PostgresStore) -> None:
    neighbour = replace(FENCE, shard=1)
    for fence in (FENCE, neighbour):
        room.store.claim(fence)
    third = PostgresStore(DB, room.conninfo)
    with third.unit(neighbour) as busy:
        busy.execute(["UPDATE counters SET n = n + 10"], lock_timeout=5)
        # The neighbour holds the rows, so this one writes none.
        with pytest.raises((Unavailable, StaleEpoch)), room.store.unit(FENCE):
            other.claim(replace(FENCE, epoch=6))
    third.close()
    assert room.value("SELECT n FROM counters") == 10


def test_the_fence_of_an_undo_ends_what_still_works_for_the_run_and_for_no_other(
    room: Room, other: PostgresStore
) -> None:
    stranger = replace(FENCE, run_id="r2")
    for fence in (FENCE, stranger):
        room.store.claim(fence)
    third = PostgresStore(DB, room.conninfo)
    with third.unit(stranger) as busy:
        with pytest.raises((Unavailable, StaleEpoch)):
            overtaken(room.store, FENCE, lambda: other.fence_off("r1", 9))
        busy.execute(["UPDATE counters SET n = n + 10"], lock_timeout=5)
    third.close()
    assert room.value("SELECT n FROM counters") == 10
    with pytest.raises(StaleEpoch):
        room.store.claim(FENCE)
