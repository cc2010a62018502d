"""A table is written anew as a whole or not at all: what is refused, who waits, and what a failure leaves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from heavy_table import (
    POSTS,
    SET,
    USERS,
    database_with_roles,
    dumped,
    heavy_room,
    rewrite,
    simple,
    unlike,
)
from postgres_tables import ALL, DB, Room, wait_until_blocked
from psycopg.conninfo import make_conninfo

from addresses import Addresses
from lockstep.domain.errors import ConflictError, DataError, Refused, Unavailable
from lockstep.domain.resources import Everything, Table
from lockstep.stores.postgres import PostgresStore

REFUSED = {
    "CREATE MATERIALIZED VIEW mv AS SELECT id FROM users": "materialized view public.mv depends on",
    "CREATE TABLE child () INHERITS (users)": "public.child inherits from it",
    "CREATE TABLE holder (one users)": "column one of table public.holder depends on",
    "CREATE TABLE holders (many users[])": "column many of table public.holders depends on",
    "CREATE FUNCTION f(users) RETURNS int LANGUAGE sql AS 'SELECT 1'": "function public.f(public.users) depends on",
    "CREATE FUNCTION f() RETURNS SETOF users LANGUAGE plpgsql AS 'BEGIN RETURN; END'": "function public.f() depends",
    "CREATE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT count(*) FROM users; END": "function public.f() depends",
    "CREATE POLICY other ON groups USING (id IN (SELECT team FROM users))": "policy other on table public.groups",
    "CREATE RULE other AS ON DELETE TO groups DO ALSO DELETE FROM users": "rule other on table public.groups",
    "CREATE VIEW rows AS SELECT u AS whole FROM users u": "column whole of view public.rows depends on",
    "ALTER TABLE groups ADD no bigint DEFAULT nextval('users_no_seq')": "default value for column no of table",
    (
        "CREATE CONSTRAINT TRIGGER far AFTER DELETE ON groups FROM users FOR EACH ROW EXECUTE FUNCTION keep()"
    ): "trigger far on table public.groups depends on",
    "CREATE DOMAIN whole AS users": "type public.whole depends on",
    "ALTER TABLE posts DISABLE TRIGGER ALL": "foreign key by_author of public.posts",
    "ALTER TABLE users ADD CONSTRAINT wanted NOT NULL team NOT VALID": "constraint wanted, a NOT NULL that is NOT VALID",
    "ALTER TRIGGER keep ON users DEPENDS ON EXTENSION plpgsql": "depends on extension plpgsql",
    "ALTER EXTENSION plpgsql ADD TABLE users": "depends on extension plpgsql",
}


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with database_with_roles(servers) as made:
        yield made


@pytest.fixture
def room(database: str, servers: Addresses) -> Iterator[Room]:
    with heavy_room(database, servers) as made:
        yield made


@pytest.mark.parametrize("statement", REFUSED)
def test_what_cannot_be_carried_is_refused_by_name_before_anything_is_done(
    room: Room, statement: str
) -> None:
    room.sql(statement)
    try:
        schema, oid = dumped(room), room.value("SELECT 'users'::regclass::oid::int")
        with pytest.raises(Refused, match=re.escape(REFUSED[statement])) as told:
            rewrite(room)
        assert "ops.update_rows" in str(told.value)
        assert unlike(schema, dumped(room)) == ""
        assert room.value("SELECT 'users'::regclass::oid::int") == oid
    finally:
        if "EXTENSION plpgsql" in statement:
            undo = statement.replace("ADD TABLE", "DROP TABLE").replace("DEPENDS", "NO DEPENDS")
            room.sql(undo)


@pytest.mark.parametrize(
    ("name", "schema", "more"),
    [
        ("plain", "other", ""),
        ("plain", "public", "UNLOGGED"),
        ("50% off", "other", ""),
        ("é" * 31, "public", ""),
        ("x" * 63, "public", ""),
    ],
)
def test_a_table_of_any_name_and_kind_goes_there_and_back(
    room: Room, name: str, schema: str, more: str
) -> None:
    table = simple(room, name, schema, more)
    dump = dumped(room)
    prints = room.store.fingerprint(table)
    assert rewrite(room, table, **{"%": "'100%'"}) == 3
    assert unlike(dump, dumped(room)) == ""
    assert room.sql(f'SELECT "%" FROM "{schema}"."{name[:20]} seen"') == [("100%",)] * 3
    room.take_back()
    assert unlike(dump, dumped(room)) == ""
    assert room.store.fingerprint(table) == prints


def test_an_empty_table_goes_there_and_back(room: Room) -> None:
    table = simple(room)
    room.sql("TRUNCATE plain")
    assert rewrite(room, table, n="1") == 0
    room.sql("INSERT INTO plain (n) VALUES (7)")
    with pytest.raises(ConflictError):
        room.take_back()
    (taken,) = room.take_back(strict=False)
    assert taken.conflicts == ("4",)
    assert room.sql("SELECT id, n FROM plain") == [(4, 7)]


def test_values_that_changed_places_since_are_kept(room: Room) -> None:
    table = simple(room)
    rewrite(room, table, **{"%": "'new'"})
    room.sql(
        "UPDATE plain SET n = 9 WHERE id = 1; UPDATE plain SET n = 1 WHERE id = 2; UPDATE plain SET n = 2 WHERE id = 1"
    )
    (taken,) = room.take_back(strict=False)
    assert taken.conflicts == ("1", "2")
    assert room.sql('SELECT id, n, "%" FROM plain ORDER BY id') == [
        (1, 2, "new"),
        (2, 1, "new"),
        (3, 3, None),
    ]


def test_conflicts_are_counted_to_the_last_and_named_to_the_hundredth(room: Room) -> None:
    table = simple(room)
    room.sql("INSERT INTO plain (n) SELECT generate_series(4, 300)")
    rewrite(room, table, **{"%": "'new'"})
    room.sql("UPDATE plain SET n = -n")
    (taken,) = room.take_back(strict=False)
    assert taken.conflicts[99:] == ("100", "and 200 more")
    assert taken.restored == 0


def test_a_parked_column_is_still_there_after_the_swap_and_after_the_way_back(room: Room) -> None:
    table = simple(room)
    with room.unit(step=1) as unit:
        unit.park_column(table, "n")
    rewrite(room, table, step=2, **{"%": "'new'"})
    room.take_back(step=1)
    assert room.sql('SELECT id, n, "%" FROM plain ORDER BY id') == [
        (1, 1, "new"),
        (2, 2, "new"),
        (3, 3, "new"),
    ]


def test_one_table_is_written_anew_twice_and_two_at_once(room: Room) -> None:
    first, second = simple(room), simple(room, schema="other")
    dump = dumped(room)
    with room.unit() as unit:
        for step, (table, expression) in enumerate(
            [(first, "n + 1"), (second, "n * 7"), (first, "n * 10")], 1
        ):
            unit.step = step
            assert unit.rewrite_table(table, {"n": expression}) == 3
            assert unit.rewrite_table(table, {"n": expression}) == 3  # by the same step: done already
    assert unlike(dump, dumped(room)) == ""
    assert room.sql("SELECT p.n, o.n FROM plain p JOIN other.plain o USING (id) ORDER BY 1") == [
        (20, 7),
        (30, 14),
        (40, 21),
    ]
    for step in (3, 2, 1):
        room.take_back(step=step)
    assert unlike(dump, dumped(room)) == ""
    assert room.sql("SELECT p.n, o.n FROM plain p JOIN other.plain o USING (id) ORDER BY 1") == [
        (1, 1),
        (2, 2),
        (3, 3),
    ]


@pytest.mark.parametrize(
    ("table", "assignments", "words"),
    [
        ("plain", {"nn": "1"}, "Did you mean 'n'"),
        ("plain", {"id": "id + 1"}, "part of the primary key"),
        ("users", {"shout": "'x'"}, "generated by the server"),
        ("bare", {"id": "1"}, "no primary key"),
        ("plane", {"n": "1"}, "Did you mean 'plain'"),
        ("plain", {"n": "1"}, "plain_n_key"),
        ("plain", {"n": "'x'"}, "invalid input syntax"),
        ("users", {"name": "''"}, 'violates check constraint "named"'),
        ("users", {"team": "77"}, 'violates foreign key constraint "in_team"'),
    ],
)
def test_what_cannot_be_written_leaves_nothing_behind(
    room: Room, table: str, assignments: dict[str, str], words: str
) -> None:
    simple(room)
    room.sql("CREATE TABLE bare (id int)")
    dump = dumped(room)
    prints = room.store.fingerprint(Everything(DB))
    with pytest.raises(DataError, match=re.escape(words)):
        rewrite(room, Table(DB, table), **assignments)
    assert unlike(dump, dumped(room)) == ""
    assert room.store.fingerprint(Everything(DB)) == prints
    assert room.value("SELECT count(*) FROM lockstep_state.journal") == 0


def test_readers_go_on_and_writers_wait_while_it_is_filled(room: Room) -> None:
    table = simple(room)
    room.sql(
        "CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql VOLATILE AS "
        "$$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN $1; END $$"
    )
    with psycopg.connect(room.conninfo) as gate, ThreadPoolExecutor(1) as pool:
        gate.execute("SELECT pg_advisory_xact_lock(7)")
        filling = pool.submit(rewrite, room, table, n="slow(n) + 1")
        wait_until_blocked(room.conninfo)
        assert room.sql("SELECT n FROM plain ORDER BY n") == [(1,), (2,), (3,)]
        with psycopg.connect(room.conninfo) as writer:
            writer.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                writer.execute("UPDATE plain SET n = 0")
        gate.rollback()
        assert filling.result(60) == 3
    assert room.sql("SELECT n FROM plain ORDER BY n") == [(2,), (3,), (4,)]


def test_a_reader_that_stays_makes_it_give_way_and_leave_nothing(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.stores.postgres.rewrite.ATTEMPTS", 2)
    monkeypatch.setattr("lockstep.stores.postgres.rewrite.PAUSE", 0.01)
    monkeypatch.setattr("lockstep.stores.postgres.unit.LOCK_TIMEOUT", 0.3)
    table = simple(room)
    dump = dumped(room)
    with psycopg.connect(room.conninfo) as reader:
        reader.execute("SELECT * FROM plain")
        with pytest.raises(Unavailable, match="Held by pid"):
            rewrite(room, table, n="n + 1")
    assert unlike(dump, dumped(room)) == ""
    assert rewrite(room, table, n="n + 1") == 3


def test_the_owner_of_a_table_may_do_it_without_being_a_superuser(room: Room) -> None:
    room.sql(
        "GRANT ALL ON SCHEMA public, lockstep_state, lockstep_parked TO lockstep_owner;"
        "GRANT ALL ON ALL TABLES IN SCHEMA lockstep_state TO lockstep_owner;"
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA lockstep_state TO lockstep_owner;"
        "ALTER DEFAULT PRIVILEGES FOR ROLE lockstep_owner GRANT ALL ON TABLES TO PUBLIC;"
        "SET ROLE lockstep_owner;"
        "CREATE TABLE theirs (id serial PRIMARY KEY, n int, no int GENERATED BY DEFAULT AS IDENTITY);"
        "REVOKE ALL ON theirs FROM PUBLIC; GRANT SELECT ON theirs TO lockstep_reader;"
        "CREATE VIEW over AS SELECT * FROM theirs; INSERT INTO theirs (n) VALUES (1), (2); RESET ROLE"
    )
    try:
        dump = dumped(room)
        conn_info = make_conninfo(room.conninfo, options="-c role=lockstep_owner")
        store = PostgresStore(DB, conn_info)
        as_owner = Room(store=store, conninfo=conn_info)
        assert rewrite(as_owner, Table(DB, "theirs"), n="n + 1") == 2
        assert unlike(dump, dumped(room)) == ""
        assert as_owner.take_back()[0].restored == 2
        assert unlike(dump, dumped(room)) == ""
        store.close()
    finally:
        room.sql("ALTER DEFAULT PRIVILEGES FOR ROLE lockstep_owner REVOKE ALL ON TABLES FROM PUBLIC")
        room.sql("DROP OWNED BY lockstep_owner")


def test_checks_that_are_put_off_do_not_hold_it_up(room: Room) -> None:
    dump, prints = dumped(room), room.store.fingerprint(Everything(DB))
    with room.unit() as unit:
        unit.handle.execute("SET CONSTRAINTS ALL DEFERRED")
        unit.update_range(
            USERS,
            {"team": "1", "email": "email || '!'"},
            where=None,
            within=ALL,
            after=None,
            limit=99,
            journal=True,
        )
        unit.update_range(
            POSTS, {"author": "author + 1"}, where=None, within=ALL, after=None, limit=99, journal=True
        )
        unit.step = 2
        assert unit.rewrite_table(USERS, SET) == 20
    assert unlike(dump, dumped(room)) == ""
    with room.store.unit(room.claimed(step=1, phase="undo")) as unit:
        unit.handle.execute("SET CONSTRAINTS ALL DEFERRED")
        unit.update_range(
            POSTS, {"author": "author + 1"}, where=None, within=ALL, after=None, limit=99, journal=False
        )
        unit.update_range(
            POSTS, {"author": "author - 1"}, where=None, within=ALL, after=None, limit=99, journal=False
        )
        assert unit.take_back("r1", 2, limit=9, strict=True).restored == 20
        assert unit.take_back("r1", 1, limit=99, strict=True).last
    assert unlike(dump, dumped(room)) == ""
    assert room.store.fingerprint(Everything(DB)) == prints


def test_what_the_queries_do_not_carry_is_caught_before_the_commit(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.stores.postgres.rewrite.afterwards", lambda conn, oid: [])
    dump = dumped(room)
    with pytest.raises(Refused, match="trigger keep is missing") as told:
        rewrite(room)
    assert "policy mine is missing" in str(told.value)
    assert unlike(dump, dumped(room)) == ""
