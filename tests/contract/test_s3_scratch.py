"""A backup of objects is loaded into a scratch space, and the bucket made what it is there."""

from __future__ import annotations

import hashlib
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from kept_backups import Kept, keep
from s3_stores import a_store, keys_in, longest

from lockstep.domain.errors import (
    BackupNotProven,
    ConflictError,
    DataError,
    Refused,
    Unavailable,
    Unsupported,
)
from lockstep.domain.exchange import Adopted
from lockstep.domain.resources import Bucket, Everything, Prefix
from lockstep.domain.scratch import SCRATCH
from lockstep.stores.s3 import S3Store, adopting, copying, deleting, loading

DATABASE = Bucket("campus_objects")
UPLOADS = Prefix(DATABASE, "uploads/")
MEDIA = Prefix(DATABASE, "media/")
NAME = f"{SCRATCH}r1_campus"
DESCRIBED = {
    "ContentType": "image/png",
    "Metadata": {"owner": "uid-1"},
    "Tagging": "kind=avatar&to%20do=yes%2Fno",
    "CacheControl": "no-store",
    "ContentDisposition": 'attachment; filename="a.png"',
    "Expires": "2030-01-02T03:04:05Z",
    "ServerSideEncryption": "AES256",
    "StorageClass": "STANDARD_IA",
}
ODD = [
    "uploads/with space +%20",
    "uploads/naïve/日本/🎒",
    "uploads/a//b",
    "uploads/../../up",
    "uploads/folder/",
]


@pytest.fixture
def store(servers: Any) -> Iterator[S3Store]:
    with a_store(DATABASE, servers.s3_client_kwargs()) as made:
        yield made


def put(store: S3Store, key: str, body: bytes = b"", **more: Any) -> None:
    client, bucket = store.handle()
    client.put_object(Bucket=bucket, Key=key, Body=body, **more)


def delete(store: S3Store, key: str) -> None:
    client, bucket = store.handle()
    client.delete_object(Bucket=bucket, Key=key)


def head(store: S3Store, key: str) -> dict[str, Any]:
    client, bucket = store.handle()
    found: dict[str, Any] = client.head_object(Bucket=bucket, Key=key)
    return found


def fill(store: S3Store) -> None:
    for number, key in enumerate(ODD):
        put(store, key, key.encode() * number)
    put(store, "uploads/described", b"body", **DESCRIBED)
    put(store, "media/m", b"m")
    put(store, "loose", b"1")


def witness(store: S3Store) -> dict[str, Any]:
    """Return all that there is, read by the plain driver: what a fingerprint cannot be wrong about."""
    client, bucket = store.handle()
    found = {}
    for key in keys_in(client, bucket):
        if key.startswith("_lockstep/"):
            continue
        answer = client.get_object(Bucket=bucket, Key=key)
        tags = client.get_object_tagging(Bucket=bucket, Key=key)["TagSet"]
        found[key] = (
            answer["Body"].read(),
            answer["ContentType"],
            answer["Metadata"],
            sorted((tag["Key"], tag["Value"]) for tag in tags),
            answer.get("CacheControl"),
            answer.get("ContentDisposition"),
            answer.get("Expires"),
        )
    return found


def loaded(store: S3Store, kept: Kept) -> S3Store:
    scratch = store.open_scratch(NAME)
    scratch.load(kept.files, kept.read)
    return scratch


def test_a_scratch_space_is_there_once_it_is_opened_and_gone_once_it_is_dropped(store: S3Store) -> None:
    put(store, "uploads/a", b"live")
    assert store.scratches() == []
    scratch = store.open_scratch(NAME)
    assert store.scratches() == [NAME]
    assert scratch.fingerprint(UPLOADS).count == 0
    put(scratch, "uploads/a", b"scratch")
    assert store.get("uploads/a").body == b"live"
    assert scratch.get("uploads/a").body == b"scratch"
    # Opened again it is empty.
    assert store.open_scratch(NAME).fingerprint(UPLOADS).count == 0
    store.open_scratch(f"{SCRATCH}other")
    assert store.scratches() == [f"{SCRATCH}other", NAME]
    store.drop_scratch(NAME)
    store.drop_scratch(NAME)
    assert store.scratches() == [f"{SCRATCH}other"]
    assert store.get("uploads/a").body == b"live"


def test_a_scratch_space_is_dropped_with_more_objects_than_one_request_names(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deleting, "AT_ONCE", 10)
    scratch = store.open_scratch(NAME)
    client, bucket = scratch.handle()
    for number in range(35):
        client.put_object(Bucket=bucket, Key=f"k{number}")
    client.create_multipart_upload(Bucket=bucket, Key="unfinished")
    store.drop_scratch(NAME)
    live, bucket = store.handle()
    assert keys_in(live, bucket) == []
    assert live.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []


@pytest.mark.parametrize("name", ["campus", "uploads/", "", "..", f"{SCRATCH}", f"{SCRATCH}a/b", "lockstep"])
def test_no_other_name_is_opened_or_dropped(store: S3Store, name: str) -> None:
    put(store, "uploads/a", b"live")
    for ask in (store.open_scratch, store.drop_scratch):
        with pytest.raises(Refused, match="no name for a scratch space"):
            ask(name)
    assert store.get("uploads/a").body == b"live"


def test_a_role_that_may_write_nothing_there_is_told_what_it_takes(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    client, _ = store.handle()

    def deny(**_: Any) -> Any:
        answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "PutObject")

    monkeypatch.setattr(client, "put_object", deny)
    with pytest.raises(Refused, match=r"s3:PutObject.*below '_lockstep/scratch/'"):
        store.open_scratch(NAME)


def test_what_uses_the_client_is_confined_too(store: S3Store, servers: Any) -> None:
    """A revision's own code is given the client: in a rehearsal it must meet the copy alone."""
    put(store, "uploads/live", b"live")
    scratch = store.open_scratch(NAME)
    client, bucket = scratch.handle()
    client.put_object(Bucket=bucket, Key="a/1", Body=b"1")
    client.copy_object(Bucket=bucket, Key="a/2", CopySource={"Bucket": bucket, "Key": "a/1"})
    client.copy_object(Bucket=bucket, Key="a/3 +", CopySource=f"{bucket}/a/2")
    client.copy({"Bucket": bucket, "Key": "a/3 +"}, bucket, "b/4")
    seen = client.list_objects_v2(Bucket=bucket, Delimiter="/", StartAfter="a")
    assert [one["Prefix"] for one in seen["CommonPrefixes"]] == ["a/", "b/"]
    assert (seen["Prefix"], seen["StartAfter"]) == ("", "a")
    old = client.list_objects(Bucket=bucket, Prefix="a/", MaxKeys=1)
    assert (old["Prefix"], old["Contents"][0]["Key"]) == ("a/", "a/1")
    assert [o["Key"] for o in client.list_objects(Bucket=bucket, Prefix="a/", Marker="a/1")["Contents"]] == [
        "a/2",
        "a/3 +",
    ]
    versions = client.list_object_versions(Bucket=bucket, Prefix="b/")
    assert [one["Key"] for one in versions["Versions"]] == ["b/4"]
    upload = client.create_multipart_upload(Bucket=bucket, Key="b/5")
    assert upload["Key"] == "b/5"
    listed = client.list_multipart_uploads(Bucket=bucket, Prefix="b/")["Uploads"]
    assert [one["Key"] for one in listed] == ["b/5"]
    client.abort_multipart_upload(Bucket=bucket, Key="b/5", UploadId=upload["UploadId"])
    deleted = client.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": "a/1"}, {"Key": "uploads/live"}]}
    )
    assert sorted(one["Key"] for one in deleted["Deleted"]) == ["a/1", "uploads/live"]
    with pytest.raises(client.exceptions.NoSuchKey):
        client.get_object(Bucket=bucket, Key="uploads/live")
    assert sorted(witness(store)) == ["uploads/live"]
    # Another bucket is another matter.
    other = f"test-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=other)
    client.put_object(Bucket=other, Key="plain", Body=b"x")
    client.copy_object(Bucket=bucket, Key="from-there", CopySource={"Bucket": other, "Key": "plain"})
    assert scratch.get("from-there").body == b"x"
    client.delete_object(Bucket=other, Key="plain")
    client.delete_bucket(Bucket=other)


def test_a_backup_that_is_loaded_has_the_fingerprints_of_the_live_prefixes(store: S3Store) -> None:
    fill(store)
    kept = keep(store.backup([Everything(DATABASE)]))
    scratch = loaded(store, kept)
    for prefix in (UPLOADS, MEDIA):
        assert scratch.fingerprint(prefix) == store.fingerprint(prefix)
    assert scratch.fingerprint(Everything(DATABASE)) == store.fingerprint(Everything(DATABASE))
    assert witness(scratch) == witness(store)
    there = head(scratch, "uploads/described")
    assert (there["ServerSideEncryption"], there["StorageClass"]) == ("AES256", "STANDARD_IA")


def test_a_large_object_is_loaded_in_parts(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    body = random.Random(1).randbytes(11 * 1024 * 1024)
    put(store, "uploads/large", body, **DESCRIBED)
    kept = keep(store.backup([UPLOADS]))
    monkeypatch.setattr(loading, "PART", 5 * 1024 * 1024)
    scratch = loaded(store, kept)
    assert scratch.fingerprint(UPLOADS) == store.fingerprint(UPLOADS)
    assert "-3" in head(scratch, "uploads/large")["ETag"]
    assert head(scratch, "uploads/large")["CacheControl"] == "no-store"
    assert head(scratch, "uploads/large")["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
    # Its ETag is another one now, and that is no difference.
    assert store.adopt(scratch, [UPLOADS]) == Adopted()
    path = kept.flip("uploads/large", at=7 * 1024 * 1024)
    with pytest.raises(BackupNotProven, match="uploads/large"):
        loaded(store, kept)
    assert path.endswith("uploads/large")
    assert not store.open_scratch(NAME).exists("uploads/large")


@pytest.mark.parametrize("name", ["uploads/described", "objects.jsonl"])
@pytest.mark.parametrize("how", ["flipped", "torn", "gone"])
def test_a_file_that_is_not_what_was_written_is_named(store: S3Store, name: str, how: str) -> None:
    fill(store)
    kept = keep(store.backup([Everything(DATABASE)]))
    path = kept.path(name)
    if how == "flipped":
        kept.flip(name)
    elif how == "torn":
        kept.tear(name, 3)
    else:
        kept.files = [file for file in kept.files if file.path != path]
    with pytest.raises(BackupNotProven, match=name):
        loaded(store, kept)


def test_a_key_that_is_too_long_for_a_scratch_space_is_named(store: S3Store) -> None:
    put(store, longest("uploads/", store, "l"), b"long")
    kept = keep(store.backup([UPLOADS]))
    with pytest.raises(Unsupported, match=r"'uploads/lll.*has a key of 1024 bytes"):
        loaded(store, kept)
    # In a bucket of its own it is at home.
    held = store.fingerprint(UPLOADS)
    delete(store, longest("uploads/", store, "l"))
    store.load(kept.files, kept.read)
    assert store.fingerprint(UPLOADS) == held


def changed(store: S3Store) -> None:
    """Change objects in every way that there is."""
    put(store, "uploads/described", b"else", **DESCRIBED)
    put(store, ODD[0], b"longer than it was")
    delete(store, ODD[1])
    put(store, "uploads/folder/", b"a body")
    put(store, "uploads/new", b"new")
    client, bucket = store.handle()
    client.put_object_tagging(Bucket=bucket, Key=ODD[2], Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    put(store, "media/m", b"changed too")
    put(store, "uploads0", b"beside the prefix")


def test_a_prefix_becomes_what_it_was_and_the_rest_stays(store: S3Store) -> None:
    fill(store)
    before = witness(store)
    scratch = loaded(store, keep(store.backup([UPLOADS])))
    changed(store)
    after = witness(store)
    done = store.adopt(scratch, [UPLOADS])
    assert done == Adopted(written=5, removed=1)
    wanted = {**after, **{key: held for key, held in before.items() if key.startswith("uploads/")}}
    del wanted["uploads/new"]
    assert witness(store) == wanted
    assert store.adopt(scratch, [UPLOADS]) == Adopted()


def test_everything_becomes_what_it_was_but_what_is_lockstep_s_own(store: S3Store) -> None:
    fill(store)
    put(store, "_lockstep/parked/r0/000/x", b"parked")
    before = witness(store)
    scratch = loaded(store, keep(store.backup([Everything(DATABASE)])))
    changed(store)
    store.adopt(scratch, [Everything(DATABASE), UPLOADS])
    assert witness(store) == before
    assert store.get("_lockstep/parked/r0/000/x").body == b"parked"
    assert store.scratches() == [NAME]


def test_each_difference_alone_is_seen_and_mended(store: S3Store) -> None:
    was = {
        "Body": b"body",
        "ContentType": "text/plain",
        "Metadata": {"o": "1"},
        "Tagging": "k=x",
        "CacheControl": "a",
        "Expires": "2030-01-02T03:04:05Z",
    }
    client, bucket = store.handle()
    client.put_object(Bucket=bucket, Key="uploads/a", **was)
    before = witness(store)
    scratch = loaded(store, keep(store.backup([UPLOADS])))
    others: list[dict[str, Any]] = [
        {"Body": b"bodY"},
        {"ContentType": "text/x"},
        {"Metadata": {}},
        {"Tagging": "k=y"},
        {"CacheControl": "b"},
        {"Expires": "2031-01-02T03:04:05Z"},
    ]
    for change in others:
        client.put_object(Bucket=bucket, Key="uploads/a", **{**was, **change})
        assert store.adopt(scratch, [UPLOADS]) == Adopted(written=1), change
        assert witness(store) == before


def test_an_interrupted_one_is_done_again_and_writes_only_what_is_missing(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(80):
        put(store, f"uploads/{number:03}", str(number).encode())
    before = witness(store)
    scratch = loaded(store, keep(store.backup([UPLOADS])))
    for number in range(0, 80, 2):
        put(store, f"uploads/{number:03}", b"other")
    for number in range(8):
        put(store, f"uploads/new{number:03}", b"new")
    real, written = adopting.copy, []

    def copy(connection: Any, source: str, target: str, *more: Any, **how: Any) -> str:
        if len(written) >= 15:
            raise Unavailable("the server is away")
        written.append(target)
        return real(connection, source, target, *more, **how)

    with monkeypatch.context() as patched:
        patched.setattr(adopting, "copy", copy)
        with pytest.raises(Unavailable):
            store.adopt(scratch, [UPLOADS])
    done = store.adopt(scratch, [UPLOADS])
    assert done == Adopted(written=40 - len(written), removed=8)
    assert witness(store) == before


def test_an_object_that_somebody_writes_meanwhile_is_a_conflict_where_the_server_guards(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "uploads/a", b"before")
    scratch = loaded(store, keep(store.backup([UPLOADS])))
    put(store, "uploads/a", b"since")

    def refuse(*_: Any, **how: Any) -> str:
        from botocore.exceptions import ClientError

        put(store, "uploads/a", b"theirs")
        raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "CopyObject")

    monkeypatch.setattr(adopting, "copy", refuse)
    with pytest.raises(ConflictError, match="uploads/a"):
        store.adopt(scratch, [UPLOADS])


def test_objects_too_large_for_one_copy_are_put_back_in_parts(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = hashlib.sha256(b"x").digest() * (6 * 1024 * 1024 // 32)
    put(store, "uploads/large", body, **DESCRIBED)
    held = witness(store)
    scratch = loaded(store, keep(store.backup([UPLOADS])))
    put(store, "uploads/large", b"small")
    monkeypatch.setattr(copying, "LARGEST_COPY", 1024 * 1024)
    monkeypatch.setattr(copying, "PART", 5 * 1024 * 1024)
    assert store.adopt(scratch, [UPLOADS]) == Adopted(written=1)
    assert witness(store) == held


def test_a_copy_in_another_bucket_of_the_server_serves_as_well(store: S3Store, servers: Any) -> None:
    fill(store)
    kept = keep(store.backup([UPLOADS]))
    before = witness(store)
    with a_store(DATABASE, servers.s3_client_kwargs()) as other:
        copy = loaded(other, kept)
        changed(store)
        store.adopt(copy, [UPLOADS])
    wanted = {key: held for key, held in before.items() if key.startswith("uploads/")}
    assert {key: held for key, held in witness(store).items() if key.startswith("uploads/")} == wanted


def test_only_a_bucket_that_can_be_copied_from_is_taken(store: S3Store) -> None:
    with pytest.raises(Refused, match="no bucket"):
        store.adopt(object(), [UPLOADS])
    scratch = store.open_scratch(NAME)
    with pytest.raises(Refused, match="does not lie within"):
        scratch.adopt(store, [UPLOADS])


def test_objects_that_stay_though_they_were_to_go_are_named(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "uploads/a", b"1")
    scratch = store.open_scratch(NAME)
    client, _ = store.handle()
    refused = {"Errors": [{"Key": "uploads/a", "Code": "AccessDenied"}]}
    with monkeypatch.context() as patched:
        patched.setattr(client, "delete_objects", lambda **_: refused)
        with pytest.raises(DataError, match=r"uploads/a' \(AccessDenied\).*'campus_objects' may delete"):
            store.adopt(scratch, [UPLOADS])
    assert store.adopt(scratch, [UPLOADS]) == Adopted(removed=1)


def test_a_server_that_deletes_one_by_one_only_does_so(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    for number in range(5):
        put(store, f"uploads/{number}")
    scratch = store.open_scratch(NAME)
    client, _ = store.handle()

    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "MissingContentMD5"}}, "DeleteObjects")

    monkeypatch.setattr(client, "delete_objects", refuse)
    assert store.adopt(scratch, [UPLOADS]) == Adopted(removed=5)
    assert witness(store) == {}
