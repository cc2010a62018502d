"""What drop_objects moved out of use is listed, and removed for good; a bucket is described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from s3_stores import BUCKET, SCRATCH, a_store, keys_in

from lockstep.domain.errors import Refused
from lockstep.domain.resources import Bucket
from lockstep.stores.s3 import S3Store

DATABASE = Bucket("campus_objects")


@pytest.fixture(params=[BUCKET, SCRATCH])
def store(servers: Any, request: pytest.FixtureRequest) -> Iterator[S3Store]:
    with a_store(DATABASE, servers.s3_client_kwargs(), request.param) as made:
        yield made


def put(store: S3Store, key: str, body: bytes = b"") -> None:
    client, bucket = store.handle()
    client.put_object(Bucket=bucket, Key=key, Body=body)


def test_things_are_a_run_s_step_each_with_bytes_records_and_age(store: S3Store) -> None:
    assert store.parked() == []
    for key, size in (("uploads/a/1", 10), ("uploads/a/2", 20), ("uploads/b", 5)):
        put(store, f"_lockstep/parked/0004-up-1/002/{key}", b"x" * size)
    put(store, "_lockstep/parked/0004-up-1/003/media/one", b"1")
    put(store, "_lockstep/parked/0005-up-1/000/loose", b"12")
    put(store, "_lockstep/journal/0004-up-1/002/000/x", b"journal")
    put(store, "uploads/in-use", b"1")
    found = store.parked()
    assert [(one.parked_as, one.run_id, one.resource, one.records, one.bytes) for one in found] == [
        ("_lockstep/parked/0004-up-1/002/", "0004-up-1", "uploads/", 3, 35),
        ("_lockstep/parked/0004-up-1/003/", "0004-up-1", "media/", 1, 1),
        ("_lockstep/parked/0005-up-1/000/", "0005-up-1", "*", 1, 2),
    ]
    now = datetime.now(timezone.utc)
    assert all(one.kind == "objects" and one.conn_id == "campus_objects" for one in found)
    assert all(timedelta(0) <= now - one.parked_at < timedelta(minutes=10) for one in found)
    assert store.parked() == found


def test_one_thing_is_removed_and_the_others_stay(store: S3Store) -> None:
    for number in range(3):
        put(store, f"_lockstep/parked/r1/000/uploads/{number}")
    put(store, "_lockstep/parked/r1/0001/uploads/x")
    put(store, "uploads/0", b"in use")
    first, second = store.parked()
    store.remove_parked(first)
    store.remove_parked(first)
    assert store.parked() == [second]
    client, bucket = store.handle()
    left = [key for key in keys_in(client, bucket) if not key.startswith("_lockstep/scratch")]
    assert left == ["_lockstep/parked/r1/0001/uploads/x", "uploads/0"]


@pytest.mark.parametrize(
    "place",
    [
        "uploads/",
        "",
        "_lockstep/parked/",
        "_lockstep/parked/r1/",
        "_lockstep/journal/r1/000/",
        "_lockstep/parked/r1/0",
    ],
)
def test_no_other_place_is_emptied(store: S3Store, place: str) -> None:
    for key in ("uploads/a", "_lockstep/parked/r1/000/a", "_lockstep/journal/r1/000/a"):
        put(store, key)
    thing = replace(store.parked()[0], parked_as=place)
    with pytest.raises(Refused, match="no place of parked objects"):
        store.remove_parked(thing)
    assert store.exists("uploads/a")
    assert store.exists("_lockstep/parked/r1/000/a")
    assert store.exists("_lockstep/journal/r1/000/a")


def test_a_bucket_s_portrait_has_what_is_set_and_nothing_else(store: S3Store) -> None:
    assert store.portrait() == {}
    client, bucket = store.handle()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    rule = {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://campus.example"]}
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
    client.put_bucket_lifecycle_configuration(
        Bucket=bucket,
        LifecycleConfiguration={
            "Rules": [
                {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 3}}
            ]
        },
    )
    found = store.portrait()
    assert sorted(found) == ["bucket CORS", "bucket lifecycle", "bucket versioning"]
    assert json.loads(found["bucket versioning"]) == {"Status": "Suspended"}
    assert json.loads(found["bucket CORS"])["CORSRules"][0]["AllowedOrigins"] == ["https://campus.example"]
    assert json.loads(found["bucket lifecycle"])["Rules"][0]["Expiration"] == {"Days": 3}
    assert store.portrait() == found
    client.delete_bucket_cors(Bucket=bucket)
    assert sorted(store.portrait()) == ["bucket lifecycle", "bucket versioning"]


def test_a_bucket_that_says_nothing_about_itself_has_an_empty_portrait(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    client, _ = store.handle()

    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "NotImplemented"}}, "GetBucketCors")

    for ask in ("get_bucket_versioning", "get_bucket_lifecycle_configuration", "get_bucket_cors"):
        monkeypatch.setattr(client, ask, refuse)
    assert store.portrait() == {}
