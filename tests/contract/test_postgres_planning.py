"""Ranges are of equal size, whatever the keys look like, and large tables are not read for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.progress import KeyRange
from lockstep.domain.resources import Table
from lockstep.stores.postgres import plan

sample = plan._sample
BIG = Table(DB, "big")
ROWS = 120_000
SHARDS = 4

#: key columns, how row n gets them, what happens to the table afterwards, all but once never analyzed
TABLES = {
    "skewed numbers": ("id bigint", "(n::numeric ^ 3)::bigint", ""),
    "texts in insertion order": ("id text", "'uid-' || lpad(n::text, 9, '0')", "ANALYZE big"),
    "uuids": ("id uuid", "md5(n::text)::uuid", ""),
    "a composite key": ("a text, id int", "'t' || least(n % 1000, 3), n", ""),
    "half of it deleted": ("id int", "n", "DELETE FROM big WHERE id <= 60000; VACUUM (TRUNCATE false) big"),
}


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        yield made


def make_big(room: Room, columns: str, values: str, rows: int = ROWS) -> None:
    """Make a table of few rows on many pages."""
    key = ", ".join(column.split()[0] for column in columns.split(", "))
    room.sql(
        f"CREATE TABLE big ({columns}, fill text, PRIMARY KEY ({key})) "
        "WITH (fillfactor = 10, autovacuum_enabled = false)"
    )
    room.sql(f"INSERT INTO big SELECT {values}, repeat('x', 40) FROM generate_series(1, {rows}) AS n")


def sizes(room: Room, ranges: list[KeyRange]) -> list[int]:
    """Count what each range holds; all of them together must hold every row."""
    assert ranges[0].lower is None
    assert ranges[-1].upper is None
    assert [r.upper for r in ranges[:-1]] == [r.lower for r in ranges[1:]]
    found = []
    for within in ranges:
        read, after, last = 0, None, False
        while not last:
            page = room.store.read(BIG, columns=[], where=None, within=within, after=after, limit=50_000)
            read, after, last = read + len(page.records), page.cursor, page.last
        found.append(read)
    return found


@pytest.mark.parametrize("name", TABLES)
def test_ranges_of_a_large_table_differ_by_less_than_a_fifth(
    room: Room, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    columns, values, then = TABLES[name]
    make_big(room, columns, values)
    for statement in then.split("; ") if then else []:
        room.sql(statement)
    rows = room.value("SELECT count(*) FROM big")
    seen: list[str] = []
    monkeypatch.setattr(plan, "_sample", lambda *args: seen.append(sample(*args)) or seen[-1])
    ranges = room.store.plan_ranges(BIG, where=None, shards=SHARDS, least=10_000)
    assert seen, "the whole table was read"
    assert len(ranges) == SHARDS
    found = sizes(room, ranges)
    assert sum(found) == rows
    assert all(abs(size - rows / SHARDS) < 0.2 * rows / SHARDS for size in found), found
    estimates = [within.estimate or 0 for within in ranges]
    assert abs(sum(estimates) - rows) < 0.1 * rows
    assert len({within.label for within in ranges}) == SHARDS


def test_the_number_of_ranges_follows_the_size(room: Room) -> None:
    make_big(room, "id int", "n")
    counts = [
        len(room.store.plan_ranges(BIG, where=None, shards=SHARDS, least=least))
        for least in (1, 30_000, 50_000, 100_000)
    ]
    assert counts[0] == SHARDS
    assert counts[1] in (3, 4)
    assert counts[2:] == [2, 1]


def test_ten_rows_are_one_range(room: Room) -> None:
    make_big(room, "id int", "n", rows=10)
    assert room.store.plan_ranges(BIG, where=None, shards=8, least=1000) == [KeyRange(estimate=10)]
    assert room.store.plan_ranges(BIG, where="id > 4", shards=8, least=1000) == [KeyRange(estimate=6)]


def test_a_large_table_that_is_nearly_empty_is_cut_all_the_same(room: Room) -> None:
    make_big(room, "id int", "n")
    room.sql("DELETE FROM big WHERE id % 1000 <> 0")
    room.sql("VACUUM (TRUNCATE false) big")
    ranges = room.store.plan_ranges(BIG, where=None, shards=SHARDS, least=10)
    assert sizes(room, ranges) == [30] * 4


def test_a_partitioned_table_is_cut_as_one(room: Room) -> None:
    room.sql("CREATE TABLE big (id int PRIMARY KEY, fill text) PARTITION BY HASH (id)")
    for part in range(2):
        room.sql(
            f"CREATE TABLE big_{part} PARTITION OF big FOR VALUES WITH (MODULUS 2, REMAINDER {part}) "
            "WITH (fillfactor = 10)"
        )
    room.sql(f"INSERT INTO big SELECT n, repeat('x', 40) FROM generate_series(1, {ROWS}) AS n")
    ranges = room.store.plan_ranges(BIG, where=None, shards=SHARDS, least=1)
    found = sizes(room, ranges)
    assert all(abs(size - ROWS / SHARDS) < 0.2 * ROWS / SHARDS for size in found), found


def test_a_row_s_width_is_known_without_statistics(room: Room) -> None:
    room.sql("CREATE TABLE big (id int PRIMARY KEY, fill text)")
    assert room.store.width(BIG) is None
    room.sql("INSERT INTO big SELECT n, repeat('x', 400) FROM generate_series(1, 20000) AS n")
    room.sql("DELETE FROM big WHERE id % 100 < 50 AND id < 10000")
    width = room.store.width(BIG)
    assert width is not None
    assert 400 < width < 800
    room.sql("CREATE TABLE wide (id int PRIMARY KEY, fill text STORAGE EXTERNAL)")
    room.sql("INSERT INTO wide SELECT n, repeat('x', 100000) FROM generate_series(1, 20) AS n")
    wide = room.store.width(Table(DB, "wide"))
    assert wide is not None
    assert 90_000 < wide < 130_000
