"""Events reach Yapper's tables exactly once, and everyone who subscribes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from threading import Barrier
from typing import TYPE_CHECKING

import psycopg
import pytest
from ledgers import fresh_database, fresh_ledger, opened, sql, wait_until_blocked

from campus.tables import YAPPER
from lockstep.domain.errors import Refused, Unavailable
from lockstep.domain.exchange import Event
from lockstep.domain.run import RunStatus
from lockstep.stores.yapper import YapperSink

if TYPE_CHECKING:
    from addresses import Addresses

AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone(timedelta(hours=8)))
EVENT = Event(
    id="0b6ab1ce-5d4b-4f1a-9c3e-3f1f6a0a7a11",
    label="migration.applied",
    data={"revision": "0001", "text": "naïve 日本"},
    at=AT,
)


@pytest.fixture
def yapper(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as conninfo:
        with sql(conninfo) as db:
            db.execute(YAPPER)
            for client in ("audit-log", "ops-dashboard"):
                db.execute("INSERT INTO subscriptions VALUES (%s, 'migration.applied')", [client])
            db.execute("INSERT INTO subscriptions VALUES ('audit-log', 'migration.failed')")
        yield conninfo


def rows(conninfo: str, table: str) -> list[dict[str, object]]:
    with sql(conninfo) as db:
        return db.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()


def test_an_event_and_an_unread_row_for_each_subscriber_of_its_label_are_written(yapper: str) -> None:
    YapperSink(yapper).deliver(EVENT, tried_before=False)
    (event,) = rows(yapper, "events")
    assert event["label"] == "migration.applied"
    assert event["created_at"] == datetime(2026, 3, 3, 21, 6, 7)  # noqa: DTZ001 - the column has no zone
    assert json.loads(str(event["data"])) == {
        "id": EVENT.id,
        "label": "migration.applied",
        "revision": "0001",
        "text": "naïve 日本",
        "at": "2026-03-03T21:06:07+00:00",
    }
    assert rows(yapper, "unread") == [
        {"client_id": client, "label": "migration.applied", "event_id": event["id"]}
        for client in ("audit-log", "ops-dashboard")
    ]


def test_an_event_without_subscribers_is_kept_all_the_same(yapper: str) -> None:
    YapperSink(yapper).deliver(Event(id="x", label="migration.other", data={}, at=AT), tried_before=False)
    assert len(rows(yapper, "events")) == 1
    assert rows(yapper, "unread") == []


@pytest.mark.parametrize("tried_before", [True, False])
def test_an_event_that_arrived_is_not_written_again(yapper: str, tried_before: bool) -> None:
    sink = YapperSink(yapper)
    sink.deliver(EVENT, tried_before=False)
    sink.deliver(EVENT, tried_before=tried_before)
    assert len(rows(yapper, "events")) == 1
    assert len(rows(yapper, "unread")) == 2


def test_what_other_clients_wrote_is_never_taken_for_ours(yapper: str) -> None:
    others = [
        None,
        "",
        "not json",
        f'broken "{EVENT.id}"',
        f'["{EVENT.id}"]',
        json.dumps({"about": EVENT.id}),
    ]
    with sql(yapper) as db:
        for data in others:
            db.execute("INSERT INTO events (label, data) VALUES (%s, %s)", [EVENT.label, data])
        db.execute("INSERT INTO events (label, data) VALUES ('other', %s)", [json.dumps({"id": EVENT.id})])
    YapperSink(yapper).deliver(EVENT, tried_before=True)
    assert len(rows(yapper, "events")) == len(others) + 2
    assert len(rows(yapper, "unread")) == 2


def test_deliveries_of_one_event_at_once_write_it_once(yapper: str) -> None:
    ready = Barrier(4)

    def deliver(_: int) -> None:
        ready.wait()
        YapperSink(yapper).deliver(EVENT, tried_before=False)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(deliver, range(4)))
    assert len(rows(yapper, "events")) == 1
    assert len(rows(yapper, "unread")) == 2


def test_a_subscriber_who_leaves_during_the_delivery_does_not_stop_it(yapper: str) -> None:
    with sql(yapper) as db, ThreadPoolExecutor(1) as pool:
        db.execute("BEGIN")
        db.execute("DELETE FROM subscriptions WHERE client_id = 'ops-dashboard'")
        delivery = pool.submit(YapperSink(yapper).deliver, EVENT, tried_before=False)
        wait_until_blocked(yapper)
        db.execute("COMMIT")
        delivery.result()
    assert len(rows(yapper, "events")) == 1
    assert [row["client_id"] for row in rows(yapper, "unread")] == ["audit-log"]


def test_a_foreign_key_that_keeps_failing_is_unavailable_and_nothing_is_written(yapper: str) -> None:
    with sql(yapper) as db:
        db.execute("CREATE TABLE gone (client_id text PRIMARY KEY)")
        db.execute("ALTER TABLE unread ADD FOREIGN KEY (client_id) REFERENCES gone (client_id)")
    with pytest.raises(Unavailable, match="left while the event was delivered"):
        YapperSink(yapper).deliver(EVENT, tried_before=False)
    assert rows(yapper, "events") == []


def test_missing_tables_are_named_with_the_connection(yapper: str) -> None:
    with sql(yapper) as db:
        db.execute("DROP TABLE unread")
    with pytest.raises(Refused, match=r"\(s\) unread\..*'my_yapper'"):
        YapperSink(yapper, conn_id="my_yapper").deliver(EVENT, tried_before=False)
    assert rows(yapper, "events") == []


def test_a_database_that_is_not_yappers_says_so_and_stays_empty(servers: Addresses) -> None:
    with fresh_database(servers) as conninfo:
        with pytest.raises(Refused, match=r"\(s\) events, subscriptions, unread\."):
            YapperSink(conninfo).deliver(EVENT, tried_before=False)
        assert rows(conninfo, "pg_tables WHERE schemaname = 'public'") == []


def test_a_login_that_may_not_write_is_refused(yapper: str) -> None:
    with sql(yapper) as db:
        db.execute("CREATE ROLE reader LOGIN PASSWORD 'reads-only'")
    try:
        reader = psycopg.conninfo.make_conninfo(yapper, user="reader", password="reads-only")
        with pytest.raises(Refused, match="permission denied for table events"):
            YapperSink(reader).deliver(EVENT, tried_before=False)
    finally:
        with sql(yapper) as db:
            db.execute("DROP ROLE reader")


def test_a_wrong_password_is_refused_without_quoting_it(yapper: str) -> None:
    sink = YapperSink(psycopg.conninfo.make_conninfo(yapper, password="not-this-one"))
    with pytest.raises(Refused, match="Airflow connection 'lockstep_yapper'") as caught:
        sink.deliver(EVENT, tried_before=False)
    assert "not-this-one" not in str(caught.value) + repr(sink)


def test_a_server_that_is_down_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/x"):
        YapperSink("postgresql://me:secret@127.0.0.1:1/x").deliver(EVENT, tried_before=False)


def test_an_address_that_is_none_is_refused_without_quoting_it() -> None:
    with pytest.raises(Refused, match="does not make a PostgreSQL address") as caught:
        YapperSink("host=x passwort=secret")
    assert "secret" not in str(caught.value)


class DiesAfterCommit(YapperSink):
    """The worker is killed when Yapper has the event and the ledger does not know."""

    error: BaseException = KeyboardInterrupt()

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        super().deliver(event, tried_before=tried_before)
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ConnectionResetError()])
def test_after_a_crash_between_yapper_and_the_ledger_each_event_is_there_once(
    servers: Addresses, yapper: str, error: BaseException
) -> None:
    with fresh_ledger(servers) as (ledger, _):
        opened(ledger, status=RunStatus.APPLIED)
        with ledger.unit() as unit:
            ids = [unit.say("r1", "migration.applied", {"n": n}) for n in range(3)]
        dies = DiesAfterCommit(yapper)
        dies.error = error
        for _ in range(2):
            with pytest.raises((KeyboardInterrupt, Unavailable)):
                ledger.deliver(dies)
        assert ledger.deliver(YapperSink(yapper)) == 3
    events = rows(yapper, "events")
    assert [json.loads(str(event["data"]))["id"] for event in events] == ids
    assert len(rows(yapper, "unread")) == 6


def test_two_relays_at_once_bring_every_event_to_yapper_once(servers: Addresses, yapper: str) -> None:
    with fresh_ledger(servers) as (ledger, _):
        opened(ledger, "r1", status=RunStatus.APPLIED)
        opened(ledger, "r2", status=RunStatus.APPLIED)
        with ledger.unit() as unit:
            ids = [unit.say(f"r{n % 2 + 1}", "migration.applied", {"n": n}) for n in range(20)]
        ready = Barrier(2)

        def relay() -> int:
            ready.wait()
            return ledger.deliver(YapperSink(yapper))

        with ThreadPoolExecutor(2) as pool:
            relays = [pool.submit(relay) for _ in range(2)]
            went = sum(one.result() for one in relays)
        assert went + ledger.deliver(YapperSink(yapper)) == 20
    kept = [json.loads(str(event["data"]))["id"] for event in rows(yapper, "events")]
    assert sorted(kept) == sorted(ids)
