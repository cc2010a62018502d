"""Rows are inserted by key or written over what is there, and both are taken back exactly."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.errors import ConflictError, DataError, RecordError
from lockstep.domain.resources import Table

ROLES = Table(DB, "roles")


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql(
            "CREATE TABLE roles (id text PRIMARY KEY, title text NOT NULL, level int DEFAULT 1, "
            "rights jsonb, made_at timestamptz NOT NULL DEFAULT now(), shout text GENERATED ALWAYS AS "
            "(upper(title)) STORED)"
        )
        yield made


def insert(room: Room, rows: list[dict[str, Any]], table: Table = ROLES) -> int:
    with room.unit() as unit:
        return unit.insert_missing(table, rows)


def upsert(room: Room, rows: list[dict[str, Any]], table: Table = ROLES) -> tuple[int, int]:
    with room.unit() as unit:
        return unit.upsert_rows(table, rows)


def test_only_missing_rows_are_inserted_and_only_those_are_taken_back(room: Room) -> None:
    room.sql("INSERT INTO roles (id, title, level) VALUES ('admin', 'Boss', 9)")
    before = room.store.fingerprint(ROLES)
    rows = [
        {"id": "admin", "title": "Administrator"},
        {"id": "teacher", "title": "Teacher", "rights": {"grade": True}},
        {"id": "student", "title": "Student", "rights": ["read"], "level": None},
    ]
    assert insert(room, rows) == 2
    assert insert(room, rows) == 0
    assert room.sql("SELECT id, title, level, rights, shout FROM roles ORDER BY id") == [
        ("admin", "Boss", 9, None, "BOSS"),
        ("student", "Student", None, ["read"], "STUDENT"),
        ("teacher", "Teacher", 1, {"grade": True}, "TEACHER"),
    ]
    (taken,) = room.take_back()
    assert (taken.restored, taken.conflicts, taken.last) == (2, (), True)
    assert room.store.fingerprint(ROLES) == before


def test_a_row_that_a_trigger_shaped_is_taken_back_all_the_same(room: Room) -> None:
    room.sql(
        "CREATE FUNCTION shape() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.title := NEW.title || '!'; RETURN NEW; END $$;"
        "CREATE TRIGGER shape BEFORE INSERT OR UPDATE ON roles FOR EACH ROW EXECUTE FUNCTION shape()"
    )
    assert upsert(room, [{"id": "a", "title": "A"}]) == (1, 0)
    assert room.value("SELECT title FROM roles") == "A!"
    room.take_back()
    assert room.value("SELECT count(*) FROM roles") == 0


def test_an_inserted_row_that_somebody_changed_or_refers_to_is_kept_and_named(room: Room) -> None:
    room.sql("CREATE TABLE users (id int PRIMARY KEY, role text REFERENCES roles ON DELETE CASCADE)")
    insert(room, [{"id": name, "title": name.upper()} for name in ("changed", "gone", "plain", "used")])
    room.sql("UPDATE roles SET title = 'Mine' WHERE id = 'changed'")
    room.sql("DELETE FROM roles WHERE id = 'gone'")
    room.sql("INSERT INTO users VALUES (1, 'used')")
    with pytest.raises(ConflictError) as caught:
        room.take_back(strict=True)
    assert set(caught.value.keys) == {"changed", "used"}
    assert room.value("SELECT count(*) FROM roles") == 3
    (taken,) = room.take_back(strict=False)
    assert (taken.restored, set(taken.conflicts)) == (2, {"changed", "used"})
    assert room.sql("SELECT id FROM roles ORDER BY id") == [("changed",), ("used",)]
    assert room.value("SELECT count(*) FROM users") == 1


def test_a_tree_of_inserted_rows_is_taken_back_with_its_branches(room: Room) -> None:
    room.sql("CREATE TABLE units (id int PRIMARY KEY, parent int REFERENCES units, name text)")
    units = Table(DB, "units")
    insert(room, [{"id": n, "parent": n // 2 or None, "name": f"u{n}"} for n in range(1, 8)], units)
    taken = room.take_back(limit=3)
    assert [batch.restored for batch in taken] == [3, 3, 1]
    assert room.value("SELECT count(*) FROM units") == 0


def test_writing_over_rows_touches_given_columns_of_rows_that_differ(room: Room) -> None:
    room.sql(
        "INSERT INTO roles VALUES ('a', 'A', 1, '{\"x\": 1.0}', '2024-01-01'), "
        "('b', 'B', 2, NULL, '2024-01-01'), ('c', 'C', 3, NULL, '2024-01-01')"
    )
    before = room.store.fingerprint(ROLES)
    rows = [
        {"id": "a", "title": "A"},
        {"id": "b", "title": "Bee", "rights": None},
        {"id": "c", "title": "C", "level": 33, "rights": {"x": [1]}},
        {"id": "d", "title": "D"},
        {"id": "e", "title": "E", "made_at": datetime.datetime(2024, 2, 3, tzinfo=datetime.timezone.utc)},
    ]
    assert upsert(room, rows) == (2, 2)
    assert upsert(room, rows) == (0, 0)
    assert room.sql("SELECT id, title, level, rights FROM roles ORDER BY id") == [
        ("a", "A", 1, {"x": 1.0}),
        ("b", "Bee", 2, None),
        ("c", "C", 33, {"x": [1]}),
        ("d", "D", 1, None),
        ("e", "E", 1, None),
    ]
    assert sum(batch.restored for batch in room.take_back(limit=1)) == 4
    assert room.store.fingerprint(ROLES) == before


def test_rows_under_a_generated_identity_keep_the_keys_they_came_with(room: Room) -> None:
    room.sql(
        "CREATE TABLE tags (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, "
        "n int GENERATED BY DEFAULT AS IDENTITY)"
    )
    tags = Table(DB, "tags")
    assert upsert(room, [{"id": 7, "name": "x"}, {"id": 9, "name": "y", "n": 5}], tags) == (2, 0)
    assert upsert(room, [{"id": 7, "name": "z"}], tags) == (0, 1)
    assert room.sql("SELECT * FROM tags ORDER BY id") == [(7, "z", 1), (9, "y", 5)]
    room.take_back()
    assert room.value("SELECT count(*) FROM tags") == 0


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"id": "bad", "title": None}, ["'bad'", "'title'", "null"]),
        ({"id": "bad"}, ["'bad'", "'title'", "null"]),
        ({"title": "T"}, ["key column 'id'"]),
        ({"id": "bad", "titel": "T"}, ["'bad'", "'titel'", "Did you mean 'title'"]),
        ({"id": "bad", "title": "T", "shout": "T"}, ["'bad'", "generated"]),
        ({"id": "bad", "title": "T", "level": "high"}, ["'bad'", "'level'", "integer"]),
        ({"id": "bad", "title": "T", "level": -1}, ["'bad'", "sane"]),
        ({"id": "bad", "title": "Good 1"}, ["'bad'", "roles_title_key"]),
        ({"id": "bad", "title": object()}, ["'bad'", "'title'", "object"]),
    ],
)
@pytest.mark.parametrize("write", [insert, upsert])
def test_a_row_that_does_not_fit_is_named(
    room: Room, write: Any, row: dict[str, Any], words: list[str]
) -> None:
    room.sql("ALTER TABLE roles ADD UNIQUE (title), ADD CONSTRAINT sane CHECK (level >= 0)")
    good = [{"id": f"good {n}", "title": f"Good {n}"} for n in range(5)]
    with pytest.raises(RecordError) as caught:
        write(room, [*good[:3], row, *good[3:]])
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert room.value("SELECT count(*) FROM roles") == 0
    assert room.value("SELECT count(*) FROM lockstep_state.journal") == 0


def test_two_records_of_one_key_in_one_batch_are_refused_when_they_would_overwrite(room: Room) -> None:
    with pytest.raises(DataError, match="two records"):
        upsert(room, [{"id": "a", "title": "one"}, {"id": "a", "title": "two"}])
    assert insert(room, [{"id": "a", "title": "one"}, {"id": "a", "title": "two"}]) == 1
    assert room.value("SELECT title FROM roles") == "one"


def test_a_step_that_filled_several_tables_is_taken_back_in_reverse(room: Room) -> None:
    room.sql("CREATE TABLE users (id int PRIMARY KEY, role text NOT NULL REFERENCES roles)")
    users = Table(DB, "users")
    with room.unit() as unit:
        for n in range(4):
            unit.insert_missing(ROLES, [{"id": f"r{n}", "title": "t"}])
            unit.insert_missing(users, [{"id": n, "role": f"r{n}"}])
    taken = room.take_back(limit=3)
    assert [batch.restored for batch in taken] == [3, 3, 2]
    assert room.value("SELECT count(*) FROM roles") + room.value("SELECT count(*) FROM users") == 0


def test_rows_are_fetched_by_key_whole(room: Room) -> None:
    insert(room, [{"id": name, "title": name} for name in "abc"])
    found = room.store.fetch(ROLES, [{"id": "c"}, {"id": "x"}, {"id": "a"}])
    assert sorted(row["id"] for row in found) == ["a", "c"]
    assert set(found[0]) == {"id", "title", "level", "rights", "made_at", "shout"}
    assert room.store.fetch(ROLES, []) == []


def test_a_hundred_thousand_characters_and_ten_thousand_rows_pass(room: Room) -> None:
    long = "é" * 100_000
    assert upsert(room, [{"id": "long", "title": long}]) == (1, 0)
    assert room.value("SELECT title FROM roles") == long
    assert insert(room, [{"id": str(n), "title": "t"} for n in range(10_000)]) == 10_000
    assert sum(batch.restored for batch in room.take_back(limit=4000)) == 10_001
