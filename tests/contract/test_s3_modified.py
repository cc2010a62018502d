"""How many objects were written since a moment, by the server's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from s3_stores import BUCKET, SCRATCH, a_store

from lockstep.domain.resources import Bucket, Prefix
from lockstep.stores.s3 import S3Store, modified

DATABASE = Bucket("campus_objects")
UPLOADS = Prefix(DATABASE, "uploads/")


@pytest.fixture(params=[BUCKET, SCRATCH])
def store(servers: Any, request: pytest.FixtureRequest) -> Iterator[S3Store]:
    with a_store(DATABASE, servers.s3_client_kwargs(), request.param) as made:
        client, bucket = made.handle()
        for key in ("uploads/a", "uploads/b", "uploads/c", "other/d"):
            client.put_object(Bucket=bucket, Key=key, Body=b"")
        yield made


def written_at(store: S3Store, key: str) -> Any:
    client, bucket = store.handle()
    return client.head_object(Bucket=bucket, Key=key)["LastModified"]


def test_objects_of_the_prefix_that_were_written_since_are_counted(store: S3Store) -> None:
    moment = min(written_at(store, f"uploads/{name}") for name in "abc")
    assert store.modified_since(UPLOADS, moment - timedelta(seconds=1)) == (3, True)
    assert store.modified_since(UPLOADS, moment + timedelta(hours=1)) == (0, True)


def test_a_prefix_without_objects_has_none(store: S3Store) -> None:
    moment = written_at(store, "other/d") - timedelta(hours=1)
    assert store.modified_since(Prefix(DATABASE, "empty/"), moment) == (0, True)


def test_a_long_listing_is_cut_and_says_so(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    client, bucket = store.handle()
    for number in range(1001):  # one more than a listing has
        client.put_object(Bucket=bucket, Key=f"uploads/{number}", Body=b"")
    monkeypatch.setattr(modified, "MOST", 1000)
    counted, whole = store.modified_since(UPLOADS, written_at(store, "uploads/a") - timedelta(hours=1))
    assert (counted, whole) == (1000, False)
