"""The search for the one record that a batch fails on."""

from __future__ import annotations

import pytest

from lockstep.engine.hunting import Hunt


def search(records: int, poison: int, size: int) -> tuple[int, int, int]:
    """Go through `records` in batches; return (record found, splits, batches that failed)."""
    hunt, at, failures = Hunt(), 0, 0
    while at < records:
        tried = min(hunt.limit(size), records - at)
        if at <= poison < at + tried:
            failures += 1
            if hunt.failed(tried):
                return at, hunt.found(), failures
        else:
            hunt.passed(tried)
            at += tried
    raise AssertionError("never found")


@pytest.mark.parametrize("size", [1, 2, 3, 10, 999, 10_000])
def test_every_place_in_a_batch_is_found_with_few_splits(size: int) -> None:
    most = max(0, (size - 1).bit_length())
    for poison in {0, 1, size // 3, size // 2, size - 2, size - 1, size, 2 * size + 1} - {-1}:
        found, splits, failures = search(3 * size + 3, poison, size)
        assert found == poison
        assert splits <= most
        assert failures <= most + 1


def test_one_in_ten_thousand_takes_at_most_fourteen_splits() -> None:
    assert max(search(20_000, poison, 10_000)[1] for poison in range(0, 10_000, 97)) <= 14


def test_the_next_search_begins_anew() -> None:
    hunt = Hunt()
    assert not hunt.failed(8)
    hunt.passed(4)
    assert hunt.found() == 1
    assert hunt.limit(100) == 100
