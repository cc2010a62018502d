"""Lone statements and old snapshots: an index ends valid or not at all; what watching costs and who is seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from postgres_tables import ALL, DB, Room, emptied_room, fresh_database

from addresses import Addresses
from lockstep.domain.errors import LockTimeout
from lockstep.domain.resources import Table
from lockstep.stores.postgres.blockers import Blockers, described

THINGS = Table(DB, "things")
BUILD = "CREATE INDEX CONCURRENTLY by_name ON things (name)"
#: Runs a statement in a process of its own, to be killed.
CHILD = """
import sys
from lockstep.domain.resources import Postgres
from lockstep.stores.postgres import PostgresStore
PostgresStore(Postgres("campus_test"), sys.argv[1]).run_outside_transaction(sys.argv[2], lock_timeout=float(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql("CREATE TABLE things (id int PRIMARY KEY, name text)")
        made.sql("INSERT INTO things SELECT n, 'n' || n FROM generate_series(1, 9) AS n")
        yield made


@contextmanager
def old_snapshot(room: Room, statement: str = "SELECT 1") -> Iterator[psycopg.Connection]:
    """Hold a snapshot that a concurrent build has to wait for."""
    with psycopg.connect(room.conninfo, application_name="nightly-report") as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.execute(statement.encode())
        yield conn
        conn.rollback()


def index(room: Room, name: str = "by_name") -> bool | None:
    """Return whether an index is valid, None where it is not there."""
    found = room.sql("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name])
    return found[0][0] if found else None


def until_building(room: Room) -> None:
    while not room.sql("SELECT 1 FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%%'"):
        time.sleep(0.02)


def test_an_index_waits_for_an_old_snapshot_and_ends_valid(room: Room) -> None:
    with old_snapshot(room) as old:
        threading.Timer(1.5, old.rollback).start()
        room.store.run_outside_transaction(BUILD, lock_timeout=30)
    assert index(room) is True


def test_an_index_behind_a_snapshot_that_stays_is_not_there_at_all(room: Room) -> None:
    with old_snapshot(room) as old:
        with pytest.raises(LockTimeout, match=f"pid {old.info.backend_pid}") as caught:
            room.store.run_outside_transaction(BUILD, lock_timeout=1)
        assert "nightly-report" in str(caught.value)
        assert index(room) is None
    room.store.run_outside_transaction(BUILD, lock_timeout=30)
    assert index(room) is True


def test_an_invalid_index_that_a_reader_keeps_from_being_dropped_goes_with_the_next_attempt(
    room: Room,
) -> None:
    with old_snapshot(room, "SELECT count(*) FROM things"):
        with pytest.raises(LockTimeout, match="'by_name' is left behind INVALID"):
            room.store.run_outside_transaction(BUILD, lock_timeout=0.5)
        # It has read the table, and no index of a table can be dropped under its readers.
        assert index(room) is False
    room.store.run_outside_transaction(BUILD, lock_timeout=30)
    assert index(room) is True
    assert room.value("SELECT count(*) FROM pg_index WHERE indrelid = 'things'::regclass") == 2


@contextmanager
def killed_build(room: Room, lock_timeout: float) -> Iterator[None]:
    """Kill the worker of a build that waits; its server process never hears of it."""
    with old_snapshot(room) as old:
        child = subprocess.Popen([sys.executable, "-c", CHILD, room.conninfo, BUILD, str(lock_timeout)])
        until_building(room)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert index(room) is False
        yield
        old.rollback()


def test_a_build_whose_worker_was_killed_is_waited_for_and_used(room: Room) -> None:
    with killed_build(room, lock_timeout=60):
        (oid,) = room.sql("SELECT to_regclass('by_name')::oid")
        with pytest.raises(LockTimeout, match="is being built by process"):
            room.store.run_outside_transaction(BUILD, lock_timeout=1)
    room.store.run_outside_transaction(BUILD, lock_timeout=60)
    assert index(room) is True
    assert room.sql("SELECT to_regclass('by_name')::oid") == [oid]


def test_a_build_whose_worker_was_killed_and_that_failed_is_built_anew(room: Room) -> None:
    with killed_build(room, lock_timeout=1):
        while room.sql("SELECT 1 FROM pg_stat_progress_create_index"):
            time.sleep(0.05)
        assert index(room) is False
        (oid,) = room.sql("SELECT to_regclass('by_name')::oid")
    room.store.run_outside_transaction(BUILD, lock_timeout=60)
    assert index(room) is True
    assert room.sql("SELECT to_regclass('by_name')::oid") != [oid]


def test_an_undo_ends_a_build_that_still_runs_and_drops_it(room: Room) -> None:
    with killed_build(room, lock_timeout=60):
        assert room.store.drop_unfinished(BUILD, lock_timeout=30)
        assert index(room) is None
    assert not room.store.drop_unfinished(BUILD, lock_timeout=30)
    room.sql("CREATE INDEX by_name ON things (name)")
    assert not room.store.drop_unfinished(BUILD, lock_timeout=30)
    assert index(room) is True


def test_every_wait_of_a_transaction_has_a_timeout(room: Room) -> None:
    shown = "SELECT current_setting('lock_timeout')"
    with room.unit() as unit:
        conn = unit.handle
        assert conn.execute(shown).fetchone() == ("1min",)
        unit.execute(["SET LOCAL lock_timeout = 0"], lock_timeout=7)
        unit.execute(["SELECT 1"], lock_timeout=7)
        assert conn.execute(shown).fetchone() == ("7s",)
        unit.fetch(THINGS, [])
        unit.read_locked(THINGS, columns=None, where=None, within=ALL, after=None, limit=1)
        assert conn.execute(shown).fetchone() == ("1min",)


def alter_and_update(room: Room) -> None:
    with room.unit() as unit:
        unit.execute(["ALTER TABLE things ADD extra int"], lock_timeout=0.5)
        unit.execute(["UPDATE others SET id = 3"], lock_timeout=60)


def test_who_has_a_strong_lock_waits_for_nothing_else_for_long(room: Room) -> None:
    """Others queue for the table that it has; so it waits for rows of another no longer than it did for that."""
    room.sql("CREATE TABLE others (id int PRIMARY KEY); INSERT INTO others VALUES (1)")
    with psycopg.connect(room.conninfo) as conn:
        conn.execute("UPDATE others SET id = 2")
        began = time.monotonic()
        with pytest.raises(LockTimeout, match=r"waited 0\.5 s"):
            alter_and_update(room)
        assert time.monotonic() - began < 20


def test_a_prepared_transaction_has_no_process_and_is_told_as_what_it_is() -> None:
    assert "prepared transaction" in described(0, None, None, None, None, None)


def test_watching_makes_no_thread_per_statement_and_ends_by_itself(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lockstep.stores.postgres.blockers.LINGER", 0.2)
    opened: list[int] = []

    def connect() -> psycopg.Connection:
        opened.append(1)
        return psycopg.connect(room.conninfo)

    blockers = Blockers(connect)
    before, threads = set(threading.enumerate()), set[threading.Thread]()
    for _ in range(1000):
        with blockers.watched(1, 60):
            threads |= set(threading.enumerate()) - before
    assert len(threads) == 1
    assert opened == []
    (thread,) = threads
    thread.join(30)
    assert not thread.is_alive()
    with blockers.watched(1, 0.05):
        time.sleep(0.5)
    assert opened == [1]


def test_one_thread_watches_a_short_wait_beside_a_long_one(room: Room) -> None:
    connector = room.store._connector
    # The thread sleeps until the long one is due, and has to be woken for the short one.
    with (
        old_snapshot(room, "UPDATE things SET name = 'held' WHERE id = 1") as holder,
        connector.blockers.watched(1, 600),
        pytest.raises(LockTimeout, match=f"pid {holder.info.backend_pid}"),
        room.unit() as unit,
    ):
        unit.execute(["UPDATE things SET name = 'x' WHERE id = 1"], lock_timeout=0.6)
