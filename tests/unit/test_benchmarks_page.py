"""The page of the benchmarks leaves out nothing that was measured."""

from __future__ import annotations

from benchmarks.parts import LETTERS
from benchmarks.report.page import ORDER


def test_every_part_has_its_place_on_the_page() -> None:
    assert set(ORDER) == set(LETTERS.values())
