"""Replication: standbys that fall behind, and slots that keep WAL back. Both are real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf

import psycopg
import pytest
from postgres_tables import DB, Room
from psycopg.conninfo import make_conninfo

from lockstep.domain.pacing import Limits, Reading, worst
from lockstep.stores.postgres import PostgresStore
from replicated import primary, standby

CALM = Limits(connections=inf)
LAG = "replication lag of standby-2"
MB = 1024**2


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    with primary() as conninfo:
        store = PostgresStore(DB, conninfo)
        try:
            yield Room(store=store, conninfo=conninfo)
        finally:
            store.close()


@pytest.fixture(scope="module")
def behind(room: Room) -> Iterator[str]:
    """A standby's conninfo."""
    with standby(room.conninfo, "standby-2") as conninfo:
        yield conninfo


def reading(room: Room, name: str, limits: Limits = CALM) -> Reading:
    """Return the one reading whose signal starts so."""
    (found,) = [each for each in room.store.pressure(limits) if each.signal.startswith(name)]
    return found


def until(room: Room, name: str, verdict: str, limits: Limits = CALM, seconds: float = 30) -> Reading:
    """Ask once in a while, as a held worker does, until a signal has the verdict."""
    last = time.monotonic() + seconds
    while (found := reading(room, name, limits)).verdict != verdict:
        assert time.monotonic() < last, f"still {found.verdict}: {found}"
        time.sleep(0.2)
    return found


def write_wal(room: Room, size: int) -> None:
    room.sql("SELECT pg_logical_emit_message(true, 'test', repeat('x', %s))", [size])


@contextmanager
def slot(room: Room, kind: str) -> Iterator[str]:
    name = f"slot_{kind}"
    room.sql(f"SELECT pg_create_physical_replication_slot('{name}', true)")
    try:
        yield name
    finally:
        room.sql(f"SELECT pg_drop_replication_slot('{name}')")


def test_wal_that_a_slot_keeps_back_slows_and_stops(room: Room) -> None:
    limits = replace(CALM, slot_bytes=8 * MB)
    with slot(room, "kept") as name:
        found = reading(room, f"WAL kept by replication slot {name}", limits)
        assert found.verdict == "go"
        assert "nobody reads it" in found.detail
        write_wal(room, 5 * MB)
        assert reading(room, "WAL kept", limits).verdict == "slow"
        write_wal(room, 5 * MB)
        assert reading(room, "WAL kept", limits).verdict == "stop"
    assert worst(room.store.pressure(limits)).verdict == "go"  # type: ignore[union-attr]


def ask(conninfo: str, statement: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as conn:
        conn.execute(statement.encode())


@contextmanager
def busy(room: Room) -> Iterator[None]:
    """Write WAL all the time, as batches do."""
    done = threading.Event()

    def write() -> None:
        with psycopg.connect(room.conninfo, autocommit=True, application_name="lockstep test") as conn:
            while not done.wait(0.05):
                conn.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 100000))")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_standby_that_falls_behind_stops_us_until_it_has_caught_up(room: Room, behind: str) -> None:
    name, limits = LAG, replace(CALM, replication_lag=2.0)
    until(room, name, "go", limits)
    with busy(room):
        for _ in range(5):
            assert reading(room, name, limits).verdict == "go"
            time.sleep(0.2)
        ask(behind, "SELECT pg_wal_replay_pause()")
        assert "allowed 2 s" in until(room, name, "slow", limits).detail
        until(room, name, "stop", limits)
    # We stopped writing. It goes on being late, and after that it is not late for long.
    time.sleep(1)
    assert reading(room, name, limits).verdict == "stop"
    ask(behind, "SELECT pg_wal_replay_resume()")
    resumed = time.monotonic()
    until(room, name, "go", limits)
    assert time.monotonic() - resumed < 10
    # Nothing happens, and nobody is late: an old measurement does not come back.
    for _ in range(5):
        assert reading(room, name, limits).verdict == "go"
        time.sleep(0.3)


def test_a_standby_that_may_not_be_seen_means_stop(room: Room, behind: str) -> None:
    name = "blind"
    room.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    store = PostgresStore(DB, make_conninfo(room.conninfo, user=name, password="secret"))

    def hidden() -> list[Reading]:
        return [each for each in store.pressure(CALM) if each.signal.startswith("replication lag")]

    try:
        (found,) = hidden()
        assert (found.verdict, f"GRANT pg_monitor TO {name}" in found.detail) == ("stop", True)
        room.sql(f"GRANT pg_monitor TO {name}")
        (found,) = hidden()
        assert found.verdict == "go"
    finally:
        store.close()
        room.sql(f"DROP ROLE {name}")
