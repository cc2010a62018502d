"""How batches find their size, against a made-up store whose records have a price."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from lockstep.domain.sizing import Bounds, Sizer

BOUNDS = Bounds(seconds=1.0, least=10, most=1_000_000, size=10**12)


def batches(sizer: Sizer, cost: Callable[[int], float], count: int) -> list[float]:
    """Run batches that cost `cost(n)` seconds a record each; return how long each took."""
    took = []
    for n in range(count):
        seconds = sizer.size * cost(n)
        took.append(seconds)
        sizer.observe(sizer.size, seconds)
    return took


@pytest.mark.parametrize("cost", [1e-5, 1e-4, 1e-3])
def test_batches_reach_the_target_and_stay(cost: float) -> None:
    took = batches(Sizer(BOUNDS, start=100), lambda n: cost, 30)
    assert all(0.8 <= seconds <= 1.2 for seconds in took[12:])


@pytest.mark.parametrize("factor", [10.0, 0.1])
@pytest.mark.parametrize("cost", [1e-5, 1e-4])
def test_a_tenfold_change_of_width_is_met_within_ten_batches(factor: float, cost: float) -> None:
    sizer = Sizer(BOUNDS, start=1000)
    batches(sizer, lambda n: cost, 30)
    took = batches(sizer, lambda n: cost * factor, 30)
    assert all(0.8 <= seconds <= 1.2 for seconds in took[10:]), took


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_the_same_with_noise(factor: float) -> None:
    dice = random.Random(7)
    for _ in range(50):
        sizer = Sizer(BOUNDS, start=1000)
        batches(sizer, lambda n: 1e-4 * dice.uniform(0.9, 1.05), 30)
        took = batches(sizer, lambda n: 1e-4 * factor * dice.uniform(0.9, 1.05), 30)
        # The sizes are right for the dearer of the noisy records; single batches may be cheaper.
        middle = sorted(took[10:])[len(took[10:]) // 2]
        assert 0.8 <= middle <= 1.2


def test_an_overshoot_cuts_the_very_next_batch() -> None:
    sizer = Sizer(BOUNDS, start=1000)
    batches(sizer, lambda n: 1e-4, 20)
    before = sizer.size
    sizer.observe(before, 10.0)
    assert sizer.size == pytest.approx(before / 10, rel=0.05)


def test_growth_is_gentle_once_the_pace_is_known() -> None:
    sizer = Sizer(BOUNDS, start=1000)
    batches(sizer, lambda n: 1e-4, 20)
    sizes = []
    for _ in range(12):
        sizes.append(sizer.size)
        sizer.observe(sizer.size, sizer.size * 1e-5)
    assert all(after <= before * 1.61 for before, after in itertools.pairwise(sizes))
    assert sizes[-1] > sizes[0] * 5


def test_bounds_in_records_and_bytes_hold() -> None:
    bounds = Bounds(seconds=1.0, least=50, most=5000, size=1_000_000)
    quick = Sizer(bounds, start=100)
    for _ in range(20):
        quick.observe(quick.size, 1e-6)
    assert quick.size == 5000
    slow = Sizer(bounds, start=100)
    slow.observe(100, 100.0)
    assert slow.size == 50
    wide = Sizer(bounds, start=1000, width=10_000)
    assert wide.size == 100
    for _ in range(5):
        wide.observe(wide.size, 1e-6, wide.size * 100_000)
    assert wide.size == 10


def test_one_wide_record_is_still_a_batch() -> None:
    assert Sizer(Bounds(seconds=1, least=10, most=100, size=1000), start=100, width=10**9).size == 1


def test_the_last_and_small_batch_of_a_range_does_not_enlarge_the_next() -> None:
    sizer = Sizer(BOUNDS, start=1000)
    batches(sizer, lambda n: 1e-4, 20)
    before = sizer.size
    sizer.observe(10, 1e-5)
    assert sizer.size <= before


def test_a_batch_of_nothing_changes_nothing() -> None:
    sizer = Sizer(BOUNDS, start=1000)
    sizer.observe(0, 5.0)
    assert sizer.size == 1000
