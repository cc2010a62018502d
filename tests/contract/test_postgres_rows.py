"""Rows are read, updated, written and taken back exactly, whatever their types and keys."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from postgres_tables import ALL, DB, Room, emptied_room, everything, fresh_database

from addresses import Addresses
from lockstep.domain.errors import BadRecords, ConflictError, DataError
from lockstep.domain.progress import KeyRange
from lockstep.domain.resources import Table

THINGS = Table(DB, "things")


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        yield made


def make_things(room: Room, rows: int = 10) -> None:
    room.sql("CREATE TABLE things (id text PRIMARY KEY, name text, size int, extra jsonb, at timestamptz)")
    room.sql(
        "INSERT INTO things SELECT 'id-' || lpad(n::text, 5, '0'), 'name ' || n, n, "
        f"jsonb_build_object('n', n), '2024-01-01'::timestamptz FROM generate_series(1, {rows}) AS n"
    )


def test_an_update_goes_in_batches_and_says_where_each_ends(room: Room) -> None:
    make_things(room)
    swept = room.update(THINGS, {"name": "upper(name)"}, limit=4, where="size <> 3")
    assert [(batch.read, batch.written, batch.last) for batch in swept] == [
        (4, 4, False),
        (4, 4, False),
        (1, 1, True),
    ]
    assert [batch.cursor for batch in swept] == ['["id-00005"]', '["id-00009"]', '["id-00010"]']
    assert room.value("SELECT count(*) FROM things WHERE name = 'NAME ' || size") == 9


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 12, 13])
def test_an_update_goes_in_the_order_of_the_keys_and_not_of_their_texts(room: Room, limit: int) -> None:
    room.sql("CREATE TABLE things (id int PRIMARY KEY, mark int)")
    room.sql("INSERT INTO things SELECT n, 0 FROM generate_series(1, 12) AS n")
    swept = room.update(THINGS, {"mark": "mark + 1"}, limit=limit, journal=False)
    ends = [*range(limit, 12, limit), 12]
    assert [batch.cursor for batch in swept] == [f'["{end}"]' for end in ends]
    assert [batch.read for batch in swept] == [b - a for a, b in zip([0, *ends], ends, strict=False)]
    assert [batch.last for batch in swept] == [False] * (len(ends) - 1) + [True]
    assert room.value("SELECT count(*) FROM things WHERE mark = 1") == 12


def test_an_update_over_nothing_is_the_last(room: Room) -> None:
    make_things(room, 0)
    (swept,) = room.update(THINGS, {"name": "'x'"})
    assert (swept.cursor, swept.read, swept.written, swept.last) == (None, 0, 0, True)


def test_rows_that_do_not_change_are_not_written(room: Room) -> None:
    make_things(room)
    versions = room.sql("SELECT id, xmin::text FROM things WHERE size > 1 ORDER BY id")
    (swept,) = room.update(THINGS, {"size": "greatest(size, 2)"}, journal=False)
    assert (swept.read, swept.written) == (10, 1)
    assert (
        room.sql("SELECT id, xmin::text FROM things WHERE size > 1 AND id > 'id-00001' ORDER BY id")
        == versions
    )


@pytest.mark.usefixtures("way")
def test_an_update_keeps_an_authors_comment_or_and_percent_sign_to_itself(room: Room) -> None:
    make_things(room)
    room.sql('ALTER TABLE things ADD "50% {off}" text')
    room.update(
        THINGS,
        {"50% {off}": "name || ' 100%' -- all of it"},
        where="name LIKE '%1' OR false -- the first",
        limit=1,
    )
    assert room.sql('SELECT id, "50% {off}" FROM things WHERE "50% {off}" IS NOT NULL') == [
        ("id-00001", "name 1 100%")
    ]
    room.take_back()
    assert room.value('SELECT count("50% {off}") FROM things') == 0


@pytest.mark.usefixtures("way")
def test_an_expression_may_name_the_table_and_ask_other_tables(room: Room) -> None:
    make_things(room)
    room.sql("CREATE TABLE words (size int, word text)")
    room.sql("INSERT INTO words VALUES (1, 'one')")
    room.update(
        THINGS, {"name": "(SELECT word FROM words WHERE words.size = things.size)"}, where="things.size = 1"
    )
    assert room.value("SELECT name FROM things WHERE size = 1") == "one"


def test_a_column_may_be_set_to_its_default(room: Room) -> None:
    make_things(room)
    room.sql("ALTER TABLE things ALTER name SET DEFAULT 'nobody'")
    (swept,) = room.update(THINGS, {"name": " default "})
    assert swept.written == 10
    assert room.value("SELECT count(*) FROM things WHERE name = 'nobody'") == 10


@pytest.mark.parametrize(
    ("key", "types"),
    [
        ("n", "n int"),
        ("u", "u uuid"),
        ("at", "at timestamptz"),
        ("a, b", "a text, b int"),
        ("b, a", "a date, b numeric(10,2)"),
        ("w", 'w text COLLATE "C"'),
        ("f, bb", "f double precision, bb bytea"),
        ("e", "e mood"),
        ("i", "i interval"),
    ],
)
def test_keys_of_any_type_are_cut_read_and_swept_without_a_gap(room: Room, key: str, types: str) -> None:
    room.sql("CREATE TYPE mood AS ENUM ('zebra', 'apple', 'mango', 'fig', 'kiwi')")
    room.sql(f"CREATE TABLE things ({types}, mark int, PRIMARY KEY ({key}))")
    values = {
        "int": "n",
        "uuid": "md5(n::text)::uuid",
        "timestamptz": "'2024-01-01'::timestamptz + n * '1 us'::interval",
        "text": "CASE WHEN n % 2 = 0 THEN 'é' ELSE 'Z, \"' END || n",
        "date": "'2024-01-01'::date + n / 5",
        "numeric(10,2)": "n / 7.0",
        "double": "1 / (n + 0.3)",
        "bytea": "decode(md5(n::text), 'hex')",
        "mood": "(enum_range(NULL::mood))[n]",
        "interval": "n * '1 h'::interval",
    }
    rows = 5 if "mood" in types else 23
    chosen = ", ".join(values[column.split()[1]] for column in types.split(", "))
    room.sql(f"INSERT INTO things SELECT {chosen} FROM generate_series(1, {rows}) AS n")
    ranges = room.store.plan_ranges(THINGS, where=None, shards=3, least=1)
    assert len(ranges) == 3
    assert ranges[0].lower is None
    assert ranges[-1].upper is None
    assert [r.upper for r in ranges[:-1]] == [r.lower for r in ranges[1:]]
    seen: list[Any] = []
    for within in ranges:
        after, last = None, False
        while not last:
            page = room.store.read(THINGS, columns=[], where=None, within=within, after=after, limit=2)
            seen += [tuple(row.values()) for row in page.records]
            after, last = page.cursor, page.last
        room.update(THINGS, {"mark": "coalesce(mark, 0) + 1"}, within=within, limit=3)
    names = ", ".join(room.store.keys_of(THINGS))
    assert names == key
    columns = [column.split()[0] for column in types.split(", ") if column.split()[0] in key.split(", ")]
    assert seen == room.sql(f"SELECT {', '.join(columns)} FROM things ORDER BY {key}")
    assert room.sql("SELECT DISTINCT mark FROM things") == [(1,)]
    room.take_back(limit=4)
    assert room.sql("SELECT DISTINCT mark FROM things") == [(None,)]


def test_ranges_have_labels_sizes_and_never_too_few_rows(room: Room) -> None:
    make_things(room)
    plan = room.store.plan_ranges
    assert plan(THINGS, where=None, shards=4, least=100) == [KeyRange(estimate=10)]
    two = plan(THINGS, where=None, shards=4, least=5)
    assert [r.label for r in two] == ["id-00001 to id-00005", "id-00006 to id-00010"]
    assert [r.label for r in plan(THINGS, where="size > 8", shards=4, least=1)] == [
        "id-00009 to id-00009",
        "id-00010 to id-00010",
    ]
    assert [r.estimate for r in plan(THINGS, where=None, shards=4, least=1)] == [3, 2, 3, 2]
    assert plan(THINGS, where="false", shards=4, least=1) == [KeyRange(estimate=0)]


def test_a_page_holds_only_what_was_asked_for_and_the_key(room: Room) -> None:
    make_things(room, 3)
    page = room.store.read(THINGS, columns=["extra"], where="size > 1", within=ALL, after=None, limit=1)
    assert page.records == ({"id": "id-00002", "extra": {"n": 2}},)
    assert not page.last
    page = room.store.read(
        THINGS, columns=["extra"], where="size > 1", within=ALL, after=page.cursor, limit=1
    )
    assert [row["id"] for row in page.records] == ["id-00003"]
    assert page.last
    page = room.store.read(THINGS, columns=None, where=None, within=ALL, after=page.cursor, limit=1)
    assert (page.records, page.last) == ((), True)


@pytest.mark.usefixtures("way")
def test_a_transform_writes_only_changed_columns_of_changed_rows(room: Room) -> None:
    make_things(room, 5)
    before = everything(room)

    def change(row: dict[str, Any]) -> dict[str, Any]:
        if row["size"] == 1:
            row["name"] = None
        if row["size"] == 2:
            row["extra"] = {"n": 2.0}
        if row["size"] == 4:
            row.pop("name")
        return row

    assert room.transform(THINGS, change, limit=5) == 2
    assert room.sql("SELECT kind, key, before, after FROM lockstep_state.journal ORDER BY id") == [
        (
            "update",
            ["id-00001"],
            {"name": "name 1", "extra": '{"n": 1}'},
            {"name": None, "extra": '{"n": 1}'},
        ),
        (
            "update",
            ["id-00002"],
            {"name": "name 2", "extra": '{"n": 2}'},
            {"name": "name 2", "extra": '{"n": 2.0}'},
        ),
    ]
    room.take_back()
    assert everything(room) == before


def test_a_transform_may_set_a_column_that_it_did_not_read(room: Room) -> None:
    make_things(room, 3)
    written = room.transform(
        THINGS, lambda row: {**row, "name": f"size {row['size']}"}, columns=["size"], journal=False
    )
    assert written == 3
    assert room.sql("SELECT name FROM things ORDER BY id") == [("size 1",), ("size 2",), ("size 3",)]
    assert room.value("SELECT count(*) FROM lockstep_state.journal") == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nme": "x"}, ["id-00002", "'nme'", "'name'"]),
        ({"id": "other"}, ["id-00002", "key column 'id'", "'other'"]),
        ({"name": {"a": 1}}, ["id-00002", "'name'", "text", "dict"]),
        ({"name": "nul \0"}, ["id-00002", "'name'", "NUL"]),
        ({"size": "many"}, ["id-00002", "'size'", "integer", "many"]),
        ({"size": 10**10}, ["id-00002", "'size'"]),
        ({"extra": {1, 2}}, ["id-00002", "'extra'", "jsonb", "set"]),
        ({"code": "abcdef"}, ["id-00002", "'code'", "too long"]),
        ({"kept": None}, ["id-00002", "'kept'", "null"]),
        ({"size": -2}, ["id-00002", "positive"]),
        ({"name": "name 3"}, ["id-00002", "things_name_key"]),
        ({"doubled": 7}, ["id-00002", "'doubled'", "generated"]),
    ],
)
def test_a_value_that_does_not_fit_is_blamed_on_its_record(
    room: Room, change: dict[str, Any], words: list[str]
) -> None:
    make_things(room, 4)
    room.sql(
        "ALTER TABLE things ADD code varchar(5), ADD kept int NOT NULL DEFAULT 1, ADD UNIQUE (name), "
        "ADD CONSTRAINT positive CHECK (size > 0), ADD doubled int GENERATED ALWAYS AS (size * 2) STORED"
    )
    before = everything(room)

    def spoil(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == "id-00002":
            return {**row, **change}
        return {**row, "name": row["name"] if "name" in change else row["name"] + "!"}

    with pytest.raises(BadRecords) as caught:
        room.transform(THINGS, spoil, limit=10)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert [(bad.key, bad.shown) for bad in caught.value.records] == [('["id-00002"]', "'id-00002'")]
    assert everything(room) == before


def test_an_expression_that_fails_says_what_postgresql_said(room: Room) -> None:
    make_things(room, 1)
    with pytest.raises(DataError, match="division by zero"):
        room.update(THINGS, {"size": "size / 0"})


@pytest.mark.parametrize(
    ("assignments", "words"),
    [({"nam": "1"}, "Did you mean 'name'"), ({"id": "'x'"}, "primary key"), ({}, "without assignments")],
)
def test_an_update_of_what_cannot_be_updated_is_refused(
    room: Room, assignments: dict[str, str], words: str
) -> None:
    make_things(room, 1)
    with pytest.raises(DataError, match=words):
        room.update(THINGS, assignments)


def test_decimals_and_booleans_are_told_from_their_equals(room: Room) -> None:
    room.sql("CREATE TABLE things (id int PRIMARY KEY, price numeric, doc jsonb)")
    room.sql("INSERT INTO things VALUES (1, 1.0, '{\"on\": 1}')")
    room.transform(THINGS, lambda row: {**row, "price": Decimal("1.00"), "doc": {"on": True}})
    assert room.sql("SELECT price::text, doc::text FROM things") == [("1.00", '{"on": true}')]
    room.take_back()
    assert room.sql("SELECT price::text, doc::text FROM things") == [("1.0", '{"on": 1}')]


def test_a_record_that_changed_since_is_left_alone_and_named(room: Room) -> None:
    make_things(room, 5)
    room.update(THINGS, {"name": "'new'"})
    room.sql("UPDATE things SET name = 'newer' WHERE size = 2")
    room.sql("DELETE FROM things WHERE size = 3")
    room.sql("UPDATE things SET name = 'name 4', size = 44 WHERE size = 4")
    with pytest.raises(ConflictError) as caught:
        room.take_back(strict=True)
    assert set(caught.value.keys) == {"id-00002", "id-00003"}
    assert room.value("SELECT count(*) FROM things WHERE name = 'new'") == 2
    taken = room.take_back(strict=False, limit=2)
    assert sum(batch.restored for batch in taken) == 3
    assert sorted(key for batch in taken for key in batch.conflicts) == ["id-00002", "id-00003"]
    assert room.sql("SELECT id, name, size FROM things ORDER BY id") == [
        ("id-00001", "name 1", 1),
        ("id-00002", "newer", 2),
        ("id-00004", "name 4", 44),
        ("id-00005", "name 5", 5),
    ]
    assert room.take_back(strict=True)[0].last


def test_a_row_changed_twice_by_a_step_goes_back_to_the_beginning(room: Room) -> None:
    make_things(room, 3)
    before = everything(room)
    room.update(THINGS, {"name": "name || '!'"})
    room.update(THINGS, {"name": "name || '?'"})
    room.update(THINGS, {"size": "size + 1"}, step=2)
    room.take_back(step=2)
    assert room.value("SELECT name FROM things WHERE size = 1") == "name 1!?"
    room.take_back(limit=5)
    assert everything(room) == before


def test_the_later_of_two_shards_does_not_take_back_what_another_step_did(room: Room) -> None:
    make_things(room, 2)
    room.update(THINGS, {"name": "'one'"}, step=1, where="size = 1")
    room.update(THINGS, {"name": "'two'"}, step=2, where="size = 2")
    room.take_back(step=1)
    assert room.sql("SELECT name FROM things ORDER BY id") == [("name 1",), ("two",)]


def test_a_table_with_two_hundred_columns_goes_there_and_back(room: Room) -> None:
    names = [f"c{n}" for n in range(200)]
    room.sql(f"CREATE TABLE things (id int PRIMARY KEY, {', '.join(f'{n} int' for n in names)})")
    room.sql("INSERT INTO things (id, c7) VALUES (1, 7)")
    before = everything(room)
    room.update(THINGS, dict.fromkeys(names, "id"))
    assert room.value("SELECT c199 FROM things") == 1
    room.take_back()
    assert everything(room) == before


@pytest.mark.usefixtures("way")
def test_a_partitioned_table_is_one_table(room: Room) -> None:
    room.sql("CREATE TABLE things (id int PRIMARY KEY, name text) PARTITION BY RANGE (id)")
    room.sql("CREATE TABLE things_a PARTITION OF things FOR VALUES FROM (0) TO (5)")
    room.sql("CREATE TABLE things_b PARTITION OF things FOR VALUES FROM (5) TO (50)")
    room.sql("INSERT INTO things SELECT n, 'x' FROM generate_series(1, 9) AS n")
    before = room.store.fingerprint(THINGS)
    assert [table.slug for table in room.store.tables()] == ["things"]
    room.update(THINGS, {"name": "'y'"}, limit=3)
    room.transform(THINGS, lambda row: {**row, "name": f"{row['name']}{row['id']}"})
    assert room.value("SELECT string_agg(name, ' ' ORDER BY id) FROM things") == "y1 y2 y3 y4 y5 y6 y7 y8 y9"
    room.take_back(limit=4)
    assert room.store.fingerprint(THINGS) == before


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("", "Did you mean 'thinks'"),
        ("CREATE TABLE things (id int)", "no primary key"),
        ("CREATE VIEW things AS SELECT 1 AS id", "a view"),
        ("CREATE MATERIALIZED VIEW things AS SELECT 1 AS id", "a materialized view"),
        ("CREATE TABLE things (id int PRIMARY KEY); CREATE TABLE child () INHERITS (things)", "inherit"),
    ],
)
def test_a_table_without_a_usable_key_is_refused_with_the_reason(room: Room, make: str, words: str) -> None:
    room.sql("CREATE TABLE thinks (id int PRIMARY KEY)")
    if make:
        room.sql(make)
    with pytest.raises(DataError, match=words):
        room.store.require_key(THINGS)
    with pytest.raises(DataError, match=words):
        room.store.plan_ranges(THINGS, where=None, shards=2, least=1)


def test_a_cursor_of_another_key_is_refused(room: Room) -> None:
    make_things(room, 1)
    for cursor in ("nonsense", '["a", "b"]', "[1]"):
        with pytest.raises(DataError, match="no place in the order"):
            room.store.read(THINGS, columns=None, where=None, within=ALL, after=cursor, limit=1)


def test_rows_are_counted_in_and_outside_a_unit(room: Room) -> None:
    make_things(room, 4)
    with room.unit() as unit:
        unit.execute(["DELETE FROM things WHERE size = 1"], lock_timeout=1)
        assert unit.count(THINGS) == 3
        assert unit.count(THINGS, "size > 2") == 2
        assert room.store.count(THINGS) == 4
    assert room.store.count(THINGS, "name LIKE '%4'") == 1
