"""Batches follow the key's own order, also where the key's text form sorts otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_tables import ALL, DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.resources import Table

COUNTS = Table(DB, "counts")
ROWS = 1200


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture(
    params=["id int PRIMARY KEY", "part int, id int, PRIMARY KEY (part, id)", "id numeric PRIMARY KEY"]
)
def room(database: str, request: pytest.FixtureRequest) -> Iterator[Room]:
    with emptied_room(database) as made:
        columns = request.param.replace("part int", "part int DEFAULT 10 NOT NULL")
        made.sql(f"CREATE TABLE counts (n int NOT NULL, {columns})")
        made.sql(f"INSERT INTO counts (n, id) SELECT i, i FROM generate_series(1, {ROWS}) i")
        yield made


@pytest.mark.parametrize("limit", [1, 7, 100, 400, ROWS, ROWS + 1])
@pytest.mark.parametrize("journal", [True, False])
def test_each_batch_of_an_update_has_as_many_rows_as_it_was_told(
    room: Room, limit: int, journal: bool
) -> None:
    if limit == 1:
        room.sql("DELETE FROM counts WHERE id > 120")
    rows = room.value("SELECT count(*) FROM counts")
    swept = room.update(COUNTS, {"n": "n + 1"}, limit=limit, journal=journal)
    sizes = [limit] * (rows // limit) + ([rows % limit] if rows % limit else [])
    assert [batch.read for batch in swept] == sizes
    assert [batch.written for batch in swept] == sizes
    assert room.value("SELECT count(*) FROM counts WHERE n = id + 1") == rows


@pytest.mark.parametrize("limit", [7, 100, 400, ROWS])
def test_pages_and_ranges_follow_the_same_order(room: Room, limit: int) -> None:
    found, after, last = [], None, False
    while not last:
        page = room.store.read(COUNTS, columns=["n"], where=None, within=ALL, after=after, limit=limit)
        found += [row["n"] for row in page.records]
        after, last = page.cursor, page.last
    assert found == list(range(1, ROWS + 1))
    ranges = room.store.plan_ranges(COUNTS, where=None, shards=3, least=1)
    parts = [
        [
            row["n"]
            for row in room.store.read(
                COUNTS, columns=["n"], where=None, within=one, after=None, limit=ROWS
            ).records
        ]
        for one in ranges
    ]
    assert [n for part in parts for n in part] == found
    assert [len(part) for part in parts] == [ROWS // 3] * 3
