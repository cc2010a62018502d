"""How large the batches of a real table become, under a clock that goes by what each record costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from driver import Bomb, Crash, Driver, PlainLog
from revisions import write
from world import World, factory_of

from chaos.grounds import BODIES, Ground, opened, store_of
from lockstep.domain.progress import Progress
from lockstep.engine import steps
from lockstep.engine.context import StepContext
from lockstep.engine.operations.update_rows import UpdateRowsHandler
from lockstep.engine.steps import plan_step, run_step_shard

ROWS = 80_000
#: seconds that a record of the first half costs; those of the second half are ten times as wide and as dear
CHEAP = 1 / 2000
WIDE = f"""
CREATE TABLE users (id int PRIMARY KEY, n int NOT NULL, pad text);
INSERT INTO users SELECT i, i, repeat('x', CASE WHEN i <= {ROWS // 2} THEN 40 ELSE 400 END)
FROM generate_series(1, {ROWS}) i;
ANALYZE users
"""


@dataclass
class Till:
    """A clock that goes on by what was paid, and the batches that were paid for."""

    price: Callable[[int], float]
    now: float = 0.0
    #: the first record of each batch, how many it had, and what they cost
    batches: list[tuple[int, int, float]] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def pay(self, first: int, last: int) -> None:
        cost = sum(self.price(record) for record in range(first, last))
        self.batches.append((first, last - first, cost))
        self.now += cost


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], float]], Till]:
    """Let updates of rows take the time that a price list says."""

    def of(price: Callable[[int], float]) -> Till:
        till = Till(price)
        really = UpdateRowsHandler.sweep

        def sweep(
            self: Any, context: Any, op: Any, unit: Any, progress: Progress, *rest: Any, **more: Any
        ) -> Any:
            after = really(self, context, op, unit, progress, *rest, **more)
            till.pay(progress.read, after.read)
            return after

        monkeypatch.setattr(UpdateRowsHandler, "sweep", sweep)
        monkeypatch.setattr(steps, "StepContext", partial(StepContext, clock=till))
        return till

    return of


def driver_of(world: World, **settings: Any) -> Driver:
    log = PlainLog()
    wide = {"batch_rows": 50_000, "batch_least": 10, **settings}
    return Driver(services=factory_of(world, log, **wide), migrations=world.migrations, log=log)


def halves(record: int) -> float:
    return CHEAP if record < ROWS // 2 else 10 * CHEAP


@pytest.mark.parametrize("target", [1.0, 0.5])
def test_batches_are_back_at_their_target_ten_batches_after_records_became_ten_times_as_dear(
    world: World, priced: Callable[[Callable[[int], float]], Till], target: float
) -> None:
    world.run(WIDE)
    write(world.migrations, "0001", None, BODIES["rows by SQL"])
    till = priced(halves)
    driver = driver_of(world, batch_seconds=target)
    revision, run = opened(driver)
    run_step_shard(driver.services(driver.bomb), revision, run, "upgrade", 1, 0, holder="test")
    before = [cost for first, size, cost in till.batches if first + size <= ROWS // 2]
    after = [cost for first, _, cost in till.batches if first >= ROWS // 2]
    assert len(before) > 12
    assert len(after) > 30
    for cost in before[10:]:
        assert cost == pytest.approx(target, rel=0.2)
    # The last batch is what is left.
    for cost in after[10:-1]:
        assert cost == pytest.approx(target, rel=0.2)
    # One batch pays for the surprise, and no other.
    assert sum(cost > 2 * target for _, _, cost in till.batches) <= 1
    assert world.rows("SELECT count(*) FROM users WHERE n = id + 1") == [(ROWS,)]


def test_batches_grow_back_after_dear_records_have_passed(
    world: World, priced: Callable[[Callable[[int], float]], Till]
) -> None:
    world.run(WIDE)
    write(world.migrations, "0001", None, BODIES["rows by SQL"])
    till = priced(lambda record: 10 * CHEAP if record < 10_000 else CHEAP)
    driver = driver_of(world)
    revision, run = opened(driver)
    run_step_shard(driver.services(driver.bomb), revision, run, "upgrade", 1, 0, holder="test")
    cheap = [cost for first, _, cost in till.batches if first >= 10_000]
    for cost in cheap[10:-1]:
        assert cost == pytest.approx(1.0, rel=0.2)


def test_bounds_in_rows_hold_whatever_the_time_says(
    world: World, priced: Callable[[Callable[[int], float]], Till]
) -> None:
    world.run(WIDE)
    write(world.migrations, "0001", None, BODIES["rows by SQL"])
    till = priced(lambda record: 1e-9 if record < ROWS // 2 else 10.0)
    driver = driver_of(world, batch_rows=3000, batch_least=700)
    revision, run = opened(driver)
    run_step_shard(driver.services(driver.bomb), revision, run, "upgrade", 1, 0, holder="test")
    sizes = [size for _, size, _ in till.batches[:-1]]
    assert (min(sizes), max(sizes)) == (700, 3000)


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("rows by SQL", 4000),
        ("rows by a function", 4000),
        ("documents by a function", 1500),
        ("objects by a function", 120),
    ],
)
def test_other_targets_bounds_and_shards_between_attempts_skip_and_repeat_nothing(
    world: World, body: str, count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    calls = tmp_path / "calls"
    monkeypatch.setenv("LOCKSTEP_CALLS", str(calls))
    ground = Ground(world=world, store=store_of(body), count=count)
    ground.fill()
    write(world.migrations, "0001", None, BODIES[body])
    driver = driver_of(
        world, rows_per_shard=count // 2, documents_per_shard=count // 2, objects_per_shard=count // 2
    )
    revision, run = opened(driver)
    labels = plan_step(driver.services(driver.bomb), revision, run, "upgrade", 1, shards=2)
    attempts: list[dict[str, Any]] = [
        {"batch_rows": 7, "batch_documents": 7, "batch_objects": 3, "batch_seconds": 1.0},
        {
            "batch_rows": 333,
            "batch_documents": 111,
            "batch_objects": 11,
            "batch_seconds": 0.001,
            "batch_least": 1,
        },
        {"batch_rows": 50, "batch_documents": 50, "batch_objects": 5, "batch_least": 50, "batch_bytes": 2000},
        {"batch_rows": 9999, "batch_documents": 9999, "batch_objects": 9999, "batch_seconds": 60.0},
    ]
    for shard in range(len(labels)):
        for number, settings in enumerate(attempts, 1):
            bomb = Bomb("batch committed", 3 if number < len(attempts) else 10**9)
            services = driver.services(bomb)
            services = replace(services, settings=replace(services.settings, **settings))
            assert plan_step(services, revision, run, "upgrade", 1, shards=number + 2) == labels
            try:
                run_step_shard(services, revision, run, "upgrade", 1, shard, holder=f"attempt {number}")
            except Crash:
                continue
    assert ground.counters(body) == list(range(2, count + 2))
    done = driver.services(driver.bomb).ledger.shards(run.id, "upgrade")
    assert [one.state for one in done] == ["done"] * len(labels)
    # Counted by the batches that committed: a record that was read twice, or never, would show.
    assert sum(one.progress.read for one in done) == count
    assert sum(one.progress.written for one in done) == count


def test_a_first_batch_of_large_documents_fits_into_the_bytes_that_it_may_hold(world: World) -> None:
    world.insert("notes", [{"_id": f"{number:03}", "n": 1, "pad": "x" * 200_000} for number in range(40)])
    write(world.migrations, "0001", None, BODIES["documents by operators"])
    driver = driver_of(world, batch_documents=5000, batch_bytes=1_000_000)
    revision, run = opened(driver)
    run_step_shard(driver.services(driver.bomb), revision, run, "upgrade", 1, 0, holder="test")
    (first, *_) = driver.services(driver.bomb).ledger.batches(run.id, "upgrade", 1)
    assert 1 <= first.progress.read <= 5
    assert all(document["n"] == 2 for document in world.documents("notes"))
