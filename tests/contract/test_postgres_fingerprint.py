"""Fingerprints are equal when content and shape are, and differ when anything does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.progress import Fingerprint
from lockstep.domain.resources import Everything, Table

THINGS = Table(DB, "things")
MAKE = "CREATE TABLE things (id int PRIMARY KEY, name text, price numeric DEFAULT 1, at timestamptz)"


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql(MAKE)
        made.sql("INSERT INTO things SELECT n, 'n' || n, n, '2024-01-01Z' FROM generate_series(1, 9) AS n")
        yield made


def taken(room: Room) -> Fingerprint:
    return room.store.fingerprint(THINGS)["things"]


def test_order_on_disk_and_of_columns_does_not_matter(room: Room) -> None:
    before = taken(room)
    room.sql("ALTER TABLE things RENAME TO old")
    room.sql("ALTER INDEX things_pkey RENAME TO old_pkey")
    room.sql(
        "CREATE TABLE things (at timestamptz, price numeric DEFAULT 1, gone int, id int PRIMARY KEY, name text)"
    )
    room.sql("ALTER TABLE things DROP gone")
    room.sql("INSERT INTO things (id, name, price, at) SELECT * FROM old ORDER BY id DESC")
    assert taken(room) == before


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("UPDATE things SET price = 1.0 WHERE id = 1", {"content"}),
        ("UPDATE things SET name = NULL WHERE id = 1", {"content"}),
        ("UPDATE things SET name = CASE id WHEN 1 THEN 'n2' ELSE 'n1' END WHERE id < 3", {"content"}),
        ("UPDATE things SET id = 10 WHERE id = 1", {"content", "keys"}),
        ("DELETE FROM things WHERE id = 1", {"content", "keys", "count"}),
        ("ALTER TABLE things ALTER price DROP DEFAULT", {"shape"}),
        ("ALTER TABLE things ALTER price SET DEFAULT 2", {"shape"}),
        ("ALTER TABLE things ALTER name SET NOT NULL", {"shape"}),
        ("ALTER TABLE things ALTER name TYPE varchar(50)", {"shape"}),
        ("ALTER TABLE things ADD extra int", {"shape", "content"}),
        ("CREATE INDEX by_name ON things (name)", {"shape"}),
        ("ALTER TABLE things ADD CHECK (price > 0) NOT VALID", {"shape"}),
        ("ALTER TABLE things ENABLE ROW LEVEL SECURITY", {"shape"}),
        ("ALTER TABLE things SET (fillfactor = 50)", {"shape"}),
        ("CREATE RULE nothing AS ON DELETE TO things DO INSTEAD NOTHING", {"shape"}),
        ("CREATE POLICY mine ON things USING (id > 1)", {"shape"}),
        (
            "CREATE TRIGGER t BEFORE UPDATE ON things FOR EACH ROW "
            "EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            {"shape"},
        ),
        ("COMMENT ON TABLE things IS 'words'; GRANT SELECT ON things TO public; VACUUM (FULL) things", set()),
    ],
)
def test_each_change_shows_where_it_belongs(room: Room, change: str, parts: set[str]) -> None:
    before = taken(room).as_json()
    for statement in change.split("; "):
        room.sql(statement)
    after = taken(room).as_json()
    assert {part for part in before if before[part] != after[part]} == parts


def test_it_does_not_depend_on_the_roles_settings(room: Room) -> None:
    before = taken(room)
    name = room.value("SELECT current_database()")
    for setting in (
        "TimeZone = 'Asia/Tokyo'",
        "DateStyle = 'German'",
        "extra_float_digits = 0",
        "search_path = 'x'",
    ):
        room.sql(f"ALTER DATABASE {name} SET {setting}")
    try:
        room.store.close()
        assert taken(room) == before
    finally:
        room.sql(f"ALTER DATABASE {name} RESET ALL")


def test_a_unit_sees_its_own_work_and_keeps_its_own_settings(room: Room) -> None:
    before = taken(room)
    with room.unit() as unit:
        path = unit.handle.execute("SHOW search_path").fetchone()
        unit.execute(["UPDATE things SET name = 'x'"], lock_timeout=1)
        assert unit.fingerprint(THINGS) != before
        assert unit.handle.execute("SHOW search_path").fetchone() == path
        assert taken(room) == before


def test_everything_means_every_table_but_lockstep_s_own(room: Room) -> None:
    room.sql("CREATE SCHEMA other")
    room.sql("CREATE TABLE other.keyless (a int)")
    room.sql("INSERT INTO other.keyless VALUES (1), (1)")
    found = room.store.fingerprint(Everything(DB))
    assert set(found) == {"things", "other.keyless"}
    assert found["things"] == taken(room)
    assert found["other.keyless"].count == 2
    assert found["other.keyless"].keys == found["other.keyless"].content


def test_equal_rows_do_not_cancel_each_other_out(room: Room) -> None:
    room.sql("CREATE TABLE keyless (a int)")
    empty = room.store.fingerprint(Table(DB, "keyless"))["keyless"]
    room.sql("INSERT INTO keyless VALUES (1), (1)")
    assert room.store.fingerprint(Table(DB, "keyless"))["keyless"].content != empty.content


def test_a_missing_table_and_an_empty_one_are_told_apart(room: Room) -> None:
    room.sql("DELETE FROM things")
    assert taken(room).present
    assert room.store.fingerprint(Table(DB, "none")) == {"none": Fingerprint(present=False)}


def test_a_table_with_two_hundred_columns_has_one(room: Room) -> None:
    room.sql(f"CREATE TABLE wide ({', '.join(f'c{n} int' for n in range(200))})")
    room.sql("INSERT INTO wide (c199) VALUES (1)")
    assert room.store.fingerprint(Table(DB, "wide"))["wide"].count == 1


def test_that_of_the_keys_alone_agrees_with_the_whole(room: Room) -> None:
    whole, keys = taken(room), room.store.fingerprint(THINGS, keys_only=True)["things"]
    assert keys == Fingerprint(present=True, count=whole.count, keys=whole.keys)
    room.sql("UPDATE things SET price = price + 1")
    assert room.store.fingerprint(THINGS, keys_only=True)["things"] == keys
    room.sql("UPDATE things SET id = 10 WHERE id = 1")
    assert room.store.fingerprint(THINGS, keys_only=True)["things"].keys != keys.keys
