"""What a server says of itself before each batch: sessions, locks, connections, and what a role may see."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from math import inf

import psycopg
import pytest
from postgres_tables import DB, Room, emptied_room, fresh_database
from psycopg.conninfo import make_conninfo

from addresses import Addresses
from lockstep.domain.pacing import Limits, Reading, worst
from lockstep.embedded.process import free_port
from lockstep.stores.postgres import PostgresStore

#: the servers of these tests are shared, and their connections are other tests' business
CALM = Limits(connections=inf)


@pytest.fixture(scope="module")
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as made:
        yield made


@pytest.fixture
def room(database: str) -> Iterator[Room]:
    with emptied_room(database) as made:
        made.sql("CREATE TABLE things (id int PRIMARY KEY, name text)")
        made.sql("INSERT INTO things SELECT n, 'n' FROM generate_series(1, 9) AS n")
        yield made


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


def test_a_server_without_standbys_says_go(room: Room) -> None:
    found = room.store.pressure(Limits(connections=0.99))
    assert {each.verdict for each in found} == {"go"}
    assert {each.signal for each in found} == {
        "sessions that wait for our locks",
        "oldest other transaction",
        "connections",
    }


def test_what_has_no_limit_is_not_looked_at(room: Room) -> None:
    none = Limits(replication_lag=inf, waiters=inf, transaction_age=inf, connections=inf)  # type: ignore[arg-type]
    assert room.store.pressure(replace(none, slot_bytes=inf)) == []  # type: ignore[arg-type]


def test_sessions_that_wait_for_our_locks_are_counted(room: Room) -> None:
    name = "sessions that wait"
    threads: list[threading.Thread] = []

    def wait(conninfo: str) -> None:
        with psycopg.connect(conninfo, application_name="the-app") as conn:
            conn.execute("UPDATE things SET name = 'theirs' WHERE id = 1")

    with room.unit() as unit:
        unit.execute(["UPDATE things SET name = 'ours' WHERE id = 1"], lock_timeout=5)
        for verdict in ("slow", "stop"):
            for _ in range(2):
                threads.append(threading.Thread(target=wait, args=[room.conninfo]))
                threads[-1].start()
            assert "of" not in until(room, name, verdict, replace(CALM, waiters=3)).detail
    for thread in threads:
        thread.join()
    assert reading(room, name, replace(CALM, waiters=3)).verdict == "go"


def test_sessions_that_wait_for_each_other_are_not_ours_to_spare(room: Room) -> None:
    with psycopg.connect(room.conninfo) as first, psycopg.connect(room.conninfo) as second:
        first.execute("UPDATE things SET name = 'theirs' WHERE id = 1")
        thread = threading.Thread(target=lambda: second.execute("UPDATE things SET name = 'x' WHERE id = 1"))
        thread.start()
        while not room.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
            time.sleep(0.01)
        assert reading(room, "sessions that wait", replace(CALM, waiters=0)).verdict == "go"
        first.rollback()
        thread.join()


def test_an_old_transaction_of_somebody_else_slows_and_never_stops(room: Room) -> None:
    name = "oldest other transaction"
    with psycopg.connect(room.conninfo) as conn:
        conn.execute("SELECT 1")
        found = until(room, name, "slow", replace(CALM, transaction_age=0.2))
        assert f"process {conn.info.backend_pid}" in found.detail
        assert reading(room, name, replace(CALM, transaction_age=0.001)).verdict == "slow"
        assert reading(room, name).verdict == "go"
    assert reading(room, name, replace(CALM, transaction_age=0.2)).verdict == "go"


def test_our_own_transactions_are_not_somebody_else_s(room: Room) -> None:
    with room.unit() as unit:
        unit.execute(["SELECT pg_sleep(0.3)"], lock_timeout=5)
        assert reading(room, "oldest other", replace(CALM, transaction_age=0.1)).verdict == "go"


def test_connections_are_counted_against_what_is_allowed(room: Room) -> None:
    found = reading(room, "connections", Limits(connections=0.99))
    used, allowed = map(int, re.findall(r"\d+", found.detail)[:2])
    share = room.sql(
        "SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
    )[0][0]
    assert used >= 1
    assert 0 < allowed <= share
    assert reading(room, "connections", Limits(connections=used / allowed / 2)).verdict == "stop"
    assert reading(room, "connections", Limits(connections=0.5 + used / allowed / 2 + 0.001)).verdict in (
        "slow",
        "go",
    )
    with psycopg.connect(room.conninfo), psycopg.connect(room.conninfo):
        more = int(re.findall(r"\d+", reading(room, "connections", Limits(connections=0.99)).detail)[0])
    assert more >= used + 1


def test_a_role_that_may_not_see_others_is_stopped_and_told_what_to_grant(room: Room) -> None:
    name = room.value("SELECT 'mover_of_' || current_database()")
    room.sql(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    store = PostgresStore(DB, make_conninfo(room.conninfo, user=name, password="secret"))
    try:
        with psycopg.connect(room.conninfo):
            found = worst(store.pressure(CALM))
            assert found is not None
            assert found.verdict == "stop"
            assert f"GRANT pg_monitor TO {name}" in found.detail
            room.sql(f"GRANT pg_monitor TO {name}")
            assert {each.verdict for each in store.pressure(CALM)} == {"go"}
        room.sql(f"REVOKE pg_monitor FROM {name}")
        # Once nobody else is in this database there is nothing to hide.
        room.store.close()
        last = time.monotonic() + 30
        while {each.verdict for each in store.pressure(CALM)} != {"go"}:
            assert time.monotonic() < last
            time.sleep(0.1)
    finally:
        store.close()
        room.sql(f"DROP ROLE {name}")


def test_a_server_that_does_not_answer_means_stop(room: Room) -> None:
    store = PostgresStore(DB, make_conninfo(room.conninfo, port=free_port()))
    (found,) = store.pressure(CALM)
    assert found.verdict == "stop"
    assert "cannot be read" in found.detail
    assert "did not answer" in found.detail
