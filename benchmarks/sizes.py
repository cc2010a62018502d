"""How much there is to do: enough for a number to mean something, or a quick look."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    name: str
    #: rows of the table that most parts change
    rows: int
    #: rows that a script which commits each of them gets to do
    rows_one_by_one: int
    #: rows of the tables that show how time and memory grow
    growing: tuple[int, ...]
    #: rows of a table that costs nothing, so that only the fixed part of a run is left
    rows_few: int
    #: rows of a database that is backed up and restored to see what memory that takes: 5 GB with its index
    rows_of_database: int
    documents: int
    documents_one_by_one: int
    objects: int
    #: rounds of a part, unless it was asked for others
    rounds: int
    #: rounds of a part of which one takes minutes, at most
    rounds_long: int


FULL = Sizes(
    name="full",
    rows=2_000_000,
    rows_one_by_one=5_000,
    growing=(100_000, 1_000_000, 10_000_000),
    rows_few=1_000,
    rows_of_database=17_500_000,
    documents=100_000,
    documents_one_by_one=3_000,
    objects=2_000,
    rounds=3,
    rounds_long=2,
)
SMALL = Sizes(
    name="small",
    rows=100_000,
    rows_one_by_one=500,
    growing=(10_000, 50_000, 200_000),
    rows_few=1_000,
    rows_of_database=300_000,
    documents=5_000,
    documents_one_by_one=300,
    objects=200,
    rounds=2,
    rounds_long=1,
)
SIZES = {size.name: size for size in (FULL, SMALL)}
