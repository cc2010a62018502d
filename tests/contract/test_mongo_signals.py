"""What the document store says of its server before each batch."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from math import inf
from typing import Any

import pymongo
import pytest
from pymongo.errors import AutoReconnect, OperationFailure

from lockstep.domain.pacing import Limits
from lockstep.domain.resources import Mongo
from lockstep.stores.mongo import MongoStore, signals

DATABASE = Mongo("campus_documents")
NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
LIMITS = Limits(replication_lag=10.0, connections=0.9)


@pytest.fixture
def store(servers: Any) -> Iterator[MongoStore]:
    made = MongoStore(DATABASE, servers.mongo_uri, f"test_{uuid.uuid4().hex}")
    yield made
    made.close()


def member(name: str, state: int, behind: float | None = 0.0, **more: Any) -> dict[str, Any]:
    """Return a member as replSetGetStatus of MongoDB 8 shows it, as far as it matters."""
    words = {
        1: "PRIMARY",
        2: "SECONDARY",
        3: "RECOVERING",
        5: "STARTUP2",
        7: "ARBITER",
        8: "(not reachable/healthy)",
    }
    shown = {
        "_id": 0,
        "name": name,
        "health": 0.0 if state == 8 else 1.0,
        "state": state,
        "stateStr": words[state],
    }
    if behind is not None:
        shown["optimeDate"] = NOON - timedelta(seconds=behind)
    return {**shown, **more}


def status(*members: dict[str, Any]) -> dict[str, Any]:
    return {"set": "rs0", "date": NOON, "myState": 1, "members": list(members), "ok": 1.0}


def config(*members: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    found = [{"_id": at, "host": name, **more} for at, (name, more) in enumerate(members)]
    return {"config": {"_id": "rs0", "version": 1, "members": found}, "ok": 1.0}


@pytest.mark.parametrize(
    ("behind", "verdict"), [(0.0, "go"), (5.0, "go"), (5.1, "slow"), (10.0, "slow"), (11.0, "stop")]
)
def test_a_secondary_slows_beyond_half_of_the_limit_and_stops_beyond_it(behind: float, verdict: str) -> None:
    answer = status(member("a:27017", 1), member("b:27017", 2, 1.0), member("c:27017", 2, behind))
    found = signals.lags(answer, {}, 10.0)
    assert [reading.signal for reading in found] == [
        "replication lag of b:27017",
        "replication lag of c:27017",
    ]
    assert (found[1].verdict, found[1].detail) == (verdict, f"{behind:.0f} s, allowed 10 s")
    assert found[0].verdict == "go"


def test_arbiters_and_members_that_are_down_or_start_are_not_waited_for() -> None:
    long_ago = 10**8
    answer = status(
        member("a:1", 1),
        member("b:1", 7, None),
        member("c:1", 8, long_ago),
        member("d:1", 5, long_ago),
        member("e:1", 3, 60),
    )
    assert [(one.signal, one.verdict) for one in signals.lags(answer, {}, 10.0)] == [
        ("replication lag of e:1", "stop")
    ]


def test_a_member_that_is_told_to_be_late_is_late_only_beyond_that() -> None:
    answer = status(member("a:1", 1), member("b:1", 2, 3602), member("c:1", 2, 3620))
    delays = signals.delays_of(
        config(("a:1", {}), ("b:1", {"secondaryDelaySecs": 3600}), ("c:1", {"slaveDelay": 3600}))
    )
    assert [(one.verdict, one.detail) for one in signals.lags(answer, delays, 10.0)] == [
        ("go", "2 s, allowed 10 s"),
        ("stop", "20 s, allowed 10 s"),
    ]


def test_a_set_without_a_primary_stops() -> None:
    found = signals.lags(status(member("a:1", 2), member("b:1", 2)), {}, 10.0)
    assert [(one.signal, one.verdict) for one in found] == [("replication lag of replica set rs0", "stop")]


def test_a_single_server_has_no_lag_and_counts_its_connections(store: MongoStore) -> None:
    found = store.pressure(LIMITS)
    lag = [one for one in found if one.signal.startswith("replication lag")]
    if store.check()["topology"] == "single server":
        assert lag == []
        assert [one.signal for one in found] == ["connections"]
    assert all(one.verdict == "go" for one in found)
    assert [one.verdict for one in store.pressure(replace(LIMITS, connections=0.0))][-1] == "stop"
    assert store.pressure(replace(LIMITS, replication_lag=inf, connections=inf)) == []


@pytest.mark.parametrize(("current", "verdict"), [(80, "go"), (81, "slow"), (90, "slow"), (91, "stop")])
def test_connections_stop_beyond_their_share(current: int, verdict: str) -> None:
    counted = {"current": current, "available": 100 - current, "totalCreated": 5}
    found = list(signals.connections(counted, 0.9))
    assert [(one.verdict, one.detail) for one in found] == [(verdict, f"{current} of 100, allowed 90%")]
    assert list(signals.connections({"current": "many"}, 0.9)) == []


class Answers:
    """A server's answers to commands, given beforehand; what is no replica set cannot give them itself."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        self.asked: list[str] = []

        def command(database: Any, name: str, *given: Any, **more: Any) -> Any:
            self.asked.append(name)
            answer = answers[name]
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(pymongo.database.Database, "command", command)


CALM = {
    "hello": {"setName": "rs0", "ok": 1.0},
    "serverStatus": {"connections": {"current": 1, "available": 99}},
}


def test_a_replica_set_is_asked_how_far_its_members_are(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm = Answers(monkeypatch, replSetGetStatus=status(member("a:1", 1), member("b:1", 2, 1)), **CALM)
    assert [one.verdict for one in store.pressure(LIMITS)] == ["go", "go"]
    assert calm.asked == ["hello", "replSetGetStatus", "serverStatus"]
    late = status(member("a:1", 1), member("b:1", 2, 100), member("c:1", 2, 60))
    told = config(("a:1", {}), ("b:1", {"secondaryDelaySecs": 100}), ("c:1", {}))
    Answers(monkeypatch, replSetGetStatus=late, replSetGetConfig=told, **CALM)
    assert [one.verdict for one in store.pressure(LIMITS)] == ["go", "stop", "go"]


def test_a_lag_that_may_not_be_read_stops_and_says_what_to_grant(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = OperationFailure("not authorized on admin to execute command { replSetGetStatus: 1 }", 13)
    known = {"authInfo": {"authenticatedUsers": [{"user": "mover", "db": "admin"}]}}
    Answers(monkeypatch, replSetGetStatus=refusal, connectionStatus=known, **CALM)
    first, *rest = store.pressure(LIMITS)
    assert (first.signal, first.verdict) == ("replication lag of replica set rs0", "stop")
    assert 'grantRolesToUser("mover", [{role: "clusterMonitor", db: "admin"}])' in first.detail
    assert [one.verdict for one in rest] == ["go"]


def test_a_server_that_does_not_answer_stops(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    Answers(monkeypatch, hello=AutoReconnect("connection closed"))
    (only,) = store.pressure(LIMITS)
    assert (only.signal, only.verdict) == ("signals of campus_documents", "stop")
    assert "connection closed" in only.detail


def test_connections_that_may_not_be_counted_hold_nothing_up(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    Answers(monkeypatch, hello={"ok": 1.0}, serverStatus=OperationFailure("not authorized", 13))
    assert store.pressure(LIMITS) == []


def test_a_sharded_cluster_says_that_nobody_tells(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    Answers(monkeypatch, **{**CALM, "hello": {"msg": "isdbgrid", "ok": 1.0}})
    lag, _ = store.pressure(LIMITS)
    assert (lag.verdict, "sharded cluster" in lag.detail) == ("go", True)
