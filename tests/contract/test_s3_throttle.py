"""The object store presses less on a server that answers SlowDown, and says so before each batch."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from slow_down import SlowServer

from lockstep.domain.errors import Unavailable
from lockstep.domain.pacing import Limits
from lockstep.domain.progress import KeyRange
from lockstep.domain.resources import Bucket, Prefix
from lockstep.stores.s3 import S3Store
from lockstep.stores.s3.connection import WORKERS
from lockstep.stores.s3.throttle import GROW_EVERY, REMEMBERED, REST, Throttle

DATABASE = Bucket("campus_objects")
UPLOADS = Prefix(DATABASE, "uploads/")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Answer:
    def __init__(self, status: int) -> None:
        self.status_code = status


def slow_down(throttle: Throttle, times: int = 1) -> None:
    for _ in range(times):
        throttle.heard((Answer(503), {"Error": {"Code": "SlowDown"}}))


def test_one_answer_slows_several_stop_for_a_while_and_both_are_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(8, clock=clock)
    assert throttle.reading().verdict == "go"
    slow_down(throttle)
    assert throttle.reading().verdict == "slow"
    slow_down(throttle, 2)
    assert throttle.reading().verdict == "stop"
    assert throttle.reading().detail.startswith("3 in the last minute")
    clock.now += REST
    assert throttle.reading().verdict == "slow"
    slow_down(throttle)
    assert throttle.reading().verdict == "stop"
    clock.now += REMEMBERED + 1
    assert throttle.reading().verdict == "go"


def test_requests_at_once_halve_and_grow_back_one_by_one() -> None:
    clock = Clock()
    throttle = Throttle(8, clock=clock)
    slow_down(throttle, 5)  # what was under way at that moment is answered alike, and counts once
    assert throttle.allowed == 4
    clock.now += 1
    slow_down(throttle)
    assert throttle.allowed == 2
    for _ in range(10):
        clock.now += 1
        slow_down(throttle)
    assert throttle.allowed == 1
    grown = []
    for _ in range(9):
        clock.now += GROW_EVERY
        grown.append(throttle.allowed)
    assert grown == [2, 3, 4, 5, 6, 7, 8, 8, 8]


@pytest.mark.parametrize(
    ("status", "code", "counts"),
    [
        (503, "SlowDown", True),
        (503, "ServiceUnavailable", True),
        (429, "TooManyRequests", True),
        (400, "RequestLimitExceeded", True),
        (500, "InternalError", False),
        (404, "NoSuchKey", False),
        (200, None, False),
    ],
)
def test_answers_that_ask_for_less_are_told_from_others(status: int, code: str | None, counts: bool) -> None:
    throttle = Throttle(8)
    throttle.heard((Answer(status), {"Error": {"Code": code}} if code else {}))
    throttle.heard(None)
    assert (throttle.reading().verdict == "slow") is counts


def test_no_more_run_at_once_than_is_allowed() -> None:
    throttle = Throttle(8)
    slow_down(throttle)
    lock, running, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal running, most
        with throttle:
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.005)
            with lock:
                running -= 1

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(60)))
    assert most == 4


@pytest.fixture
def slow(servers: Any) -> Iterator[SlowServer]:
    with SlowServer(servers.s3_endpoint) as server:
        yield server


@pytest.fixture
def store(servers: Any, slow: SlowServer) -> Iterator[S3Store]:
    bucket = f"test-{uuid.uuid4().hex}"
    made = S3Store(DATABASE, {**servers.s3_client_kwargs(), "endpoint_url": slow.address}, bucket)
    client, _ = made.handle()
    client.create_bucket(Bucket=bucket)
    for n in range(6):
        client.put_object(Bucket=bucket, Key=f"uploads/{n}", Body=b"1")
    assert made.capabilities
    yield made
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", ()):
            client.delete_object(Bucket=bucket, Key=item["Key"])
    client.delete_bucket(Bucket=bucket)
    made.close()


def test_a_busy_server_is_asked_again_and_pressed_less(store: S3Store, slow: SlowServer) -> None:
    assert [one.verdict for one in store.pressure(Limits())] == ["go"]
    slow.refuse(1)
    page = store.read(UPLOADS, suffix="", within=KeyRange(), after=None, limit=10)
    assert len(page.records) == 6
    assert slow.refused == 1
    assert [one.verdict for one in store.pressure(Limits())] == ["slow"]
    assert store._connection.throttle.allowed == WORKERS // 2
    slow.refuse(2, status=429, code="TooManyRequests")
    assert store.count(UPLOADS) == 6
    assert [one.verdict for one in store.pressure(Limits())] == ["stop"]


def test_a_server_that_stays_busy_is_unavailable(store: S3Store, slow: SlowServer) -> None:
    slow.refuse(10**6)
    with pytest.raises(Unavailable, match="SlowDown"):
        store.count(UPLOADS)
    slow.refuse(0)
    assert store.count(UPLOADS) == 6
