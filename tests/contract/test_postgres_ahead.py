"""Rows read ahead without locks are written only while they are what was read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from postgres_tables import ALL, DB, Room, emptied_room, fresh_database, wait_until_blocked

from addresses import Addresses
from lockstep.domain.errors import BadRecords, LockstepError
from lockstep.domain.progress import KeyRange, Page
from lockstep.domain.resources import Table
from lockstep.engine.ports import TableReader

THINGS = Table(DB, "things")


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql("CREATE TABLE things (id text PRIMARY KEY, name text, size int, at timestamptz)")
        made.sql(
            "INSERT INTO things SELECT 'id-' || n, 'name ' || n, n, '2024-01-01'::timestamptz "
            "FROM generate_series(1, 9) AS n"
        )
        yield made


def page_of(reader: TableReader, limit: int = 100, **more: Any) -> Page:
    asked: dict[str, Any] = {"columns": ["name", "size"], "where": None, "within": ALL, "after": None}
    return reader.page(THINGS, **{**asked, **more}, limit=limit)


def packed(reader: TableReader, page: Page) -> Any:
    """Make `size` one more in every row, and change nothing else."""
    pairs = [(row, {**row, "size": row["size"] + 1}) for row in page.records]
    return reader.pack(THINGS, pairs, page.stamps)


SIZES = "SELECT id, size FROM things ORDER BY id"


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("journal", [True, False])
def test_a_row_that_changed_since_it_was_read_is_left_and_named_and_one_that_is_gone_is_not(
    room: Room, journal: bool
) -> None:
    with room.store.reader() as reader:
        ready = packed(reader, page_of(reader))
        room.sql("UPDATE things SET size = 50 WHERE id = 'id-5'")
        room.sql("UPDATE things SET at = at WHERE id = 'id-7'")
        room.sql("DELETE FROM things WHERE id = 'id-3'")
        room.sql("DELETE FROM things WHERE id = 'id-4'")
        room.sql("INSERT INTO things VALUES ('id-4', 'new', 40)")
        with room.unit() as unit:
            written, changed = unit.write_packed(THINGS, ready, journal=journal)
    assert written == 5
    assert changed == ('["id-4"]', '["id-5"]', '["id-7"]')
    assert room.sql(SIZES) == [
        ("id-1", 2),
        ("id-2", 3),
        ("id-4", 40),
        ("id-5", 50),
        ("id-6", 7),
        ("id-7", 7),
        ("id-8", 9),
        ("id-9", 10),
    ]
    assert room.value("SELECT count(*) FROM lockstep_state.journal") == (5 if journal else 0)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("journal", [True, False])
def test_a_row_that_is_changed_while_the_write_waits_for_it_is_left_and_named(
    room: Room, journal: bool
) -> None:
    with room.store.reader() as reader, psycopg.connect(room.conninfo) as other:
        ready = packed(reader, page_of(reader))
        other.execute("UPDATE things SET size = 50 WHERE id = 'id-5'")

        def write() -> tuple[int, tuple[str, ...]]:
            with room.unit() as unit:
                return unit.write_packed(THINGS, ready, journal=journal)

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(write)
            wait_until_blocked(room.conninfo)
            other.commit()
            assert future.result() == (8, ('["id-5"]',))
    assert room.value("SELECT size FROM things WHERE id = 'id-5'") == 50


def test_a_lock_alone_is_no_change(room: Room) -> None:
    with room.store.reader() as reader, psycopg.connect(room.conninfo) as other:
        ready = packed(reader, page_of(reader))
        other.execute("SELECT FROM things WHERE id = 'id-5' FOR KEY SHARE")
        with room.unit() as unit:
            assert unit.write_packed(THINGS, ready, journal=False) == (9, ())


def test_what_a_trigger_does_to_rows_that_were_written_is_no_change_of_somebody_else(room: Room) -> None:
    room.sql(
        """
        CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            BEGIN
                UPDATE things SET at = now() WHERE id = NEW.id;
            EXCEPTION WHEN division_by_zero THEN NULL;
            END;
            RETURN NULL;
        END $$;
        CREATE TRIGGER touch AFTER UPDATE OF size ON things FOR EACH ROW EXECUTE FUNCTION touch();
        """
    )
    with room.store.reader() as reader:
        ready = packed(reader, page_of(reader))
        room.sql("DELETE FROM things WHERE id = 'id-9'")  # fewer rows than were read: somebody asks why
        with room.unit() as unit:
            assert unit.write_packed(THINGS, ready, journal=False) == (8, ())
    assert (
        room.value("SELECT count(*) FROM things WHERE size = substr(id, 4)::int + 1 AND at > '2025-01-01'")
        == 8
    )


def test_rows_that_the_server_finds_equal_are_neither_written_nor_named(room: Room) -> None:
    with room.store.reader() as reader:
        page = page_of(reader)
        pairs = [(row, {**row, "size": Decimal(row["size"])}) for row in page.records]
        ready = reader.pack(THINGS, pairs, page.stamps)
        with room.unit() as unit:
            assert unit.write_packed(THINGS, ready, journal=False) == (0, ())


def test_rows_of_partitions_are_told_apart(room: Room) -> None:
    room.sql("DROP TABLE things")
    room.sql("CREATE TABLE things (id int PRIMARY KEY, name text, size int) PARTITION BY RANGE (id)")
    room.sql("CREATE TABLE things_a PARTITION OF things FOR VALUES FROM (0) TO (5)")
    room.sql("CREATE TABLE things_b PARTITION OF things FOR VALUES FROM (5) TO (50)")
    room.sql("INSERT INTO things SELECT n, 'x', n FROM generate_series(1, 9) AS n")
    with room.store.reader() as reader:
        ready = packed(reader, page_of(reader))
        room.sql("UPDATE things SET size = 60 WHERE id = 6")
        with room.unit() as unit:
            assert unit.write_packed(THINGS, ready, journal=True) == (8, ('["6"]',))
    assert room.value("SELECT sum(size) FROM things") == 45 + 8 - 6 + 60


def test_pages_go_on_where_the_one_before_ended_and_pass_keys_by(room: Room) -> None:
    with room.store.reader() as reader:
        first = page_of(reader, limit=4, excluding=['["id-2"]'])
        assert [row["size"] for row in first.records] == [1, 3, 4, 5]
        assert len(first.stamps) == 4
        second = page_of(reader, after=first.cursor, within=KeyRange(keys=('["id-3"]', '["id-8"]')))
        assert [row["size"] for row in second.records] == [8]
        assert second.last


def test_what_is_wrong_with_rows_is_said_by_the_write(room: Room) -> None:
    room.sql("ALTER TABLE things ALTER name SET NOT NULL")
    with room.store.reader() as reader:
        page = page_of(reader)
        pairs = [(row, {**row, "name": None if row["size"] in (2, 4) else "x"}) for row in page.records]
        ready = reader.pack(THINGS, pairs, page.stamps)
        with pytest.raises(BadRecords, match="must not be null") as caught, room.unit() as unit:
            unit.write_packed(THINGS, ready, journal=False)
    assert [bad.key for bad in caught.value.records] == ['["id-2"]', '["id-4"]']
    assert room.value("SELECT count(*) FROM things WHERE name = 'x'") == 0


def test_texts_of_any_kind_arrive_as_they_are(room: Room) -> None:
    texts = ["", "\\N", "\\.", "tab\there", "two\nlines", "\\", "\r\b\v\f", "é 漢 😀", "a\\tb", " NULL "]
    room.sql("ALTER TABLE things ADD doc jsonb, ADD raw bytea, ADD words text[]")
    with room.store.reader() as reader:
        page = page_of(reader)
        pairs = [
            (row, {**row, "name": text, "doc": {"t": text}, "raw": text.encode(), "words": [text, None]})
            for row, text in zip(page.records, texts, strict=False)
        ]
        with room.unit() as unit:
            assert unit.write_packed(THINGS, reader.pack(THINGS, pairs, page.stamps), journal=False) == (
                9,
                (),
            )
    rows = room.sql("SELECT name, doc ->> 't', convert_from(raw, 'UTF8'), words FROM things ORDER BY id")
    assert rows == [(text, text, text, [text, None]) for text in texts[:9]]


def test_the_end_of_a_reader_ends_what_it_waits_for_and_its_connection(room: Room) -> None:
    with psycopg.connect(room.conninfo) as other, ThreadPoolExecutor(1) as pool:
        with room.store.reader() as reader:
            page_of(reader)
            other.execute("LOCK TABLE things")
            future = pool.submit(page_of, reader)
            wait_until_blocked(room.conninfo)
        with pytest.raises(LockstepError):
            future.result(timeout=30)
        with pytest.raises(LockstepError, match="read ahead"):
            page_of(reader)
    room.store.close()
    assert (
        room.value(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name = 'lockstep' AND datname = current_database()"
        )
        == 0
    )
