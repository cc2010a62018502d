"""The object store reads, fingerprints and backs up a bucket."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from s3_stores import BUCKET, SCRATCH, a_store, longest

from lockstep.domain.errors import DataError, Refused, Unavailable
from lockstep.domain.exchange import BackupPart
from lockstep.domain.objects import ObjectInfo, StoredObject
from lockstep.domain.progress import KeyRange
from lockstep.domain.resources import Bucket, Everything, Prefix
from lockstep.stores.s3 import S3Store, reading
from lockstep.stores.s3 import ranges as planning
from lockstep.stores.s3.backup import LONGEST_NAME, name_of

DATABASE = Bucket("campus_objects")
UPLOADS = Prefix(DATABASE, "uploads/")
WHOLE = KeyRange()
ODD = [
    "with space.txt",
    "plus+and&equals=.txt",
    "percent%20literal",
    "hash#question?",
    "naïve/日本/🎒.txt",
    "a//b",
    "folder/",
    "../../up",
    "./dot",
    "quote\"and'apostrophe",
    "tab\there",
    "~tilde!*()",
    "ﬀ",
    "é",
]


@pytest.fixture(params=[BUCKET, SCRATCH])
def store(servers: Any, request: pytest.FixtureRequest) -> Iterator[S3Store]:
    """Return a store over a bucket of its own, or over a scratch space in one."""
    with a_store(DATABASE, servers.s3_client_kwargs(), request.param) as made:
        yield made


def put(store: S3Store, key: str, body: bytes = b"", **more: Any) -> None:
    client, bucket = store.handle()
    client.put_object(Bucket=bucket, Key=key, Body=body, **more)


def every_key(
    store: S3Store, within: KeyRange = WHOLE, *, suffix: str = "", limit: int = 3, prefix: Prefix = UPLOADS
) -> list[str]:
    found: list[str] = []
    cursor = None
    for _ in range(1000):
        page = store.read(prefix, suffix=suffix, within=within, after=cursor, limit=limit)
        assert len(page.records) <= limit
        found += [seen.what.key for seen in page.records]
        cursor = page.cursor
        if page.last:
            return found
    raise AssertionError("the pages never end")


def test_an_empty_prefix_has_nothing_and_says_so(store: S3Store) -> None:
    page = store.read(UPLOADS, suffix="", within=WHOLE, after=None, limit=5)
    assert (page.records, page.cursor, page.last) == ((), None, True)
    assert store.count(UPLOADS) == 0
    assert store.plan_ranges(UPLOADS, suffix="", shards=4, least=1) == [KeyRange(estimate=0)]
    assert store.fingerprint(UPLOADS).count == 0


@pytest.mark.parametrize("limit", [1, 4, 100])
def test_pages_meet_every_key_once_in_the_order_of_its_bytes(store: S3Store, limit: int) -> None:
    keys = [f"uploads/{name}" for name in ODD]
    keys += [longest("uploads/", store, letter) for letter in "ké"]
    for key in keys:
        put(store, key)
    put(store, "elsewhere/x")
    put(store, "uploads")
    assert every_key(store, limit=limit) == sorted(keys, key=str.encode)
    assert store.count(UPLOADS) == len(keys)


def test_what_is_known_of_an_object_comes_with_its_key(store: S3Store) -> None:
    put(
        store,
        "uploads/a",
        b"12345",
        ContentType="image/png",
        Metadata={"Owner": "uid-1"},
        Tagging="kind=avatar&to%20do=yes%2Fno%20.",
    )
    put(store, "uploads/b")
    page = store.read(UPLOADS, suffix="", within=WHOLE, after=None, limit=5)
    assert tuple(seen.what for seen in page.records) == (
        ObjectInfo(
            key="uploads/a",
            size=5,
            content_type="image/png",
            metadata={"owner": "uid-1"},
            tags={"kind": "avatar", "to do": "yes/no ."},
        ),
        ObjectInfo(key="uploads/b", size=0, content_type=page.records[1].what.content_type),
    )


def test_ranges_are_open_below_and_closed_above(store: S3Store) -> None:
    for letter in "abcdef":
        put(store, f"uploads/{letter}")
    edges = KeyRange(lower=json.dumps("uploads/b"), upper=json.dumps("uploads/d"))
    for limit in (1, 2, 5):
        assert every_key(store, edges, limit=limit) == ["uploads/c", "uploads/d"]
    assert every_key(store, KeyRange(upper=json.dumps("uploads/b"))) == ["uploads/a", "uploads/b"]
    assert every_key(store, KeyRange(lower=json.dumps("uploads/f"))) == []


def test_a_suffix_filters_keys(store: S3Store) -> None:
    for n in range(7):
        put(store, f"uploads/{n}.{'png' if n % 3 == 0 else 'txt'}")
    assert every_key(store, suffix=".png", limit=2) == ["uploads/0.png", "uploads/3.png", "uploads/6.png"]
    assert store.count(UPLOADS, ".png") == 3
    assert every_key(store, suffix=".pdf") == []


def test_listings_longer_than_one_answer_are_followed(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LISTED", 3)
    for n in range(10):
        put(store, f"uploads/{n}")
    assert every_key(store, limit=4) == [f"uploads/{n}" for n in range(10)]
    edges = KeyRange(lower=json.dumps("uploads/1"), upper=json.dumps("uploads/5"))
    assert every_key(store, edges, limit=100) == [f"uploads/{n}" for n in range(2, 6)]
    assert store.fingerprint(UPLOADS).count == 10


@pytest.mark.parametrize(
    ("objects", "shards", "least", "expected"), [(20, 4, 1, 4), (20, 4, 10, 2), (20, 4, 100, 1), (3, 8, 1, 3)]
)
def test_ranges_cover_everything_in_at_most_so_many_shards(
    store: S3Store, objects: int, shards: int, least: int, expected: int
) -> None:
    for n in range(objects):
        put(store, f"uploads/{n:03}")
    ranges = store.plan_ranges(UPLOADS, suffix="", shards=shards, least=least)
    assert len(ranges) == expected
    assert (ranges[0].lower, ranges[-1].upper) == (None, None)
    assert [one.upper for one in ranges[:-1]] == [one.lower for one in ranges[1:]]
    parts = [every_key(store, within, limit=50) for within in ranges]
    assert [key for part in parts for key in part] == [f"uploads/{n:03}" for n in range(objects)]
    assert min(map(len, parts)) >= min(least, objects)


def test_ranges_of_many_keys_are_cut_in_bounded_memory(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "KEPT", 24)
    for n in range(50):
        put(store, f"uploads/{n:03}")
    ranges = store.plan_ranges(UPLOADS, suffix="", shards=3, least=1)
    parts = [every_key(store, within, limit=50) for within in ranges]
    assert [key for part in parts for key in part] == [f"uploads/{n:03}" for n in range(50)]
    assert min(map(len, parts)) >= 10
    assert [one.estimate for one in ranges] == [17, 17, 17]


def test_ranges_of_few_keys_are_cut_exactly_and_say_how_many_they_hold(store: S3Store) -> None:
    for n in range(11):
        put(store, f"uploads/{n:03}")
    ranges = store.plan_ranges(UPLOADS, suffix="", shards=4, least=1)
    parts = [every_key(store, within, limit=50) for within in ranges]
    assert [one.estimate for one in ranges] == list(map(len, parts)) == [2, 3, 3, 3]


def test_a_sample_of_keys_is_drawn_evenly_and_kept_in_order() -> None:
    keys = [f"{n:06}" for n in range(100_000)]
    kept, total = planning.sampled(iter(keys), 2000)
    assert (len(kept), total) == (2000, 100_000)
    assert kept == sorted(kept)
    shares = [sum(key < f"{edge:06}" for key in kept) / 2000 for edge in (25_000, 50_000, 75_000)]
    assert all(abs(share - wanted) < 0.04 for share, wanted in zip(shares, (0.25, 0.5, 0.75), strict=True))
    assert planning.sampled(keys[:5], 2000) == (keys[:5], 5)


def test_places_are_passed_by_or_taken_alone(store: S3Store) -> None:
    names = [f"uploads/{n}" for n in range(6)]
    for name in names:
        put(store, name, b"12345")
    left = [store.cursor_of(name) for name in (names[1], names[5], "uploads/none")]
    found: list[str] = []
    cursor, last = None, False
    while not last:
        page = store.keys(UPLOADS, suffix="", within=WHOLE, after=cursor, limit=2, excluding=left)
        found, cursor, last = [*found, *page.records], page.cursor, page.last
    assert found == [names[0], *names[2:5]]
    assert store.count(UPLOADS, excluding=left) == 4
    some = KeyRange(keys=tuple(store.cursor_of(name) for name in (names[4], "uploads/none", names[2])))
    for limit in (1, 2, 10):
        assert every_key(store, some, limit=limit) == [names[4], names[2]]
    assert every_key(store, some, suffix="2") == [names[2]]


def test_a_page_of_bodies_keeps_to_its_bytes(store: S3Store) -> None:
    for n in range(5):
        put(store, f"uploads/{n}", b"x" * (10 if n != 2 else 100))
    pages: list[list[str]] = []
    cursor, last = None, False
    while not last:
        page = store.read(UPLOADS, suffix="", within=WHOLE, after=cursor, limit=10, bodies=25)
        pages.append([seen.what.key[-1] for seen in page.records])
        cursor, last = page.cursor, page.last
    assert pages == [["0", "1"], ["2"], ["3", "4"]]
    there = store.fetch(["uploads/2", "uploads/none"])
    assert [(key, seen.what.body) for key, seen in there.items()] == [("uploads/2", b"x" * 100)]


def test_lockstep_s_own_keys_are_not_met(store: S3Store) -> None:
    put(store, "_lockstep/journal/x", b"1")
    put(store, "a", b"2")
    parts = [part.name for part in store.backup([Everything(DATABASE)])]
    assert parts == ["objects/a", "objects.jsonl"]


def test_an_object_is_read_whole(store: S3Store) -> None:
    put(store, "uploads/é +", b"\x00body", ContentType="text/x", Metadata={"a": "b"}, Tagging="t=1")
    assert store.get("uploads/é +") == StoredObject(
        key="uploads/é +", body=b"\x00body", content_type="text/x", metadata={"a": "b"}, tags={"t": "1"}
    )
    assert store.exists("uploads/é +")
    assert not store.exists("uploads/other")


def test_a_missing_and_a_huge_object_are_named(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no object 'uploads/x'"):
        store.get("uploads/x")
    put(store, "uploads/large", b"12345")
    monkeypatch.setattr(reading, "LARGEST_BODY", 4)
    with pytest.raises(DataError, match=r"'uploads/large' has 5 bytes.*ops\.move_objects"):
        store.get("uploads/large")


@pytest.mark.parametrize(
    "change",
    [
        {"Body": b"other"},
        {"ContentType": "text/other"},
        {"Metadata": {"owner": "2"}},
        {"Tagging": "kind=other"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_fingerprint_tells_every_difference(store: S3Store, change: dict[str, Any]) -> None:
    was = {"Body": b"body", "ContentType": "text/plain", "Metadata": {"owner": "1"}, "Tagging": "kind=x"}
    client, bucket = store.handle()
    client.put_object(Bucket=bucket, Key="uploads/a", **was)
    put(store, "uploads/b")
    first = store.fingerprint(UPLOADS)
    client.put_object(Bucket=bucket, Key="uploads/a", **{**was, **change})
    second = store.fingerprint(UPLOADS)
    assert second.keys == first.keys
    assert second.content != first.content
    client.put_object(Bucket=bucket, Key="uploads/a", **was)
    assert store.fingerprint(UPLOADS) == first
    client.delete_object(Bucket=bucket, Key="uploads/b")
    assert store.fingerprint(UPLOADS).keys != first.keys
    assert store.fingerprint(UPLOADS).present
    whole, keys = store.fingerprint(UPLOADS), store.fingerprint(UPLOADS, keys_only=True)
    assert (keys.count, keys.keys, keys.content) == (whole.count, whole.keys, "")


def contents(parts: list[BackupPart]) -> dict[str, bytes]:
    return {part.name: b"".join(part.chunks()) for part in parts}


def test_a_backup_holds_every_object_and_a_line_for_each(store: S3Store) -> None:
    put(store, "uploads/a +%", b"aaa", ContentType="text/x", Metadata={"m": "1"}, Tagging="t=1")
    put(store, "uploads/folder/")
    long = longest("uploads/", store, "l")
    put(store, long, b"long")
    put(store, "elsewhere/x", b"x")
    parts = list(store.backup([UPLOADS, Prefix(DATABASE, "uploads/folder/")]))
    first = parts[0]
    assert (first.name, first.holds, first.content_type) == ("objects/uploads/a +%", "object", "text/x")
    assert first.metadata == {"m": "1"}
    assert first.count() == 1
    assert parts[-1].name == "objects.jsonl"
    held = contents(parts)
    assert all(len(name.encode()) <= LONGEST_NAME + 20 for name in held)
    lines = [json.loads(line) for line in held["objects.jsonl"].splitlines()]
    assert parts[-1].count() == 3
    assert {line["key"] for line in lines} == {"uploads/a +%", "uploads/folder/", long}
    for line in lines:
        body = held[line["file"]]
        assert line["file"] == name_of(line["key"])
        assert line["size"] == len(body)
        assert line["sha256"] == hashlib.sha256(body).hexdigest()
    assert (lines[0]["content_type"], lines[0]["metadata"], lines[0]["tags"]) == (
        "text/x",
        {"m": "1"},
        {"t": "1"},
    )


def test_the_list_of_a_backup_is_whole_though_its_parts_are_read_later_or_side_by_side(
    store: S3Store,
) -> None:
    for n in range(12):
        put(store, f"uploads/{n:02}", str(n).encode())
    parts = list(store.backup([UPLOADS]))
    early = b"".join(parts[-1].chunks())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda part: b"".join(part.chunks()), parts[:-1]))
    late = b"".join(parts[-1].chunks())
    again = b"".join(b"".join(part.chunks()) for part in parts[:3])
    assert again
    assert sorted(early.splitlines()) == sorted(late.splitlines())
    assert len(late.splitlines()) == 12


def test_the_check_says_where_it_is(store: S3Store) -> None:
    facts = store.check()
    assert facts["bucket"] == store.handle()[1]
    assert all(isinstance(value, str) for value in facts.values())


def test_a_missing_bucket_is_refused_and_names_the_airflow_connection(servers: Any) -> None:
    store = S3Store(DATABASE, servers.s3_client_kwargs(), "no-such-bucket")
    for ask in (store.check, lambda: store.count(UPLOADS), lambda: store.capabilities):
        with pytest.raises(Refused, match=r"no-such-bucket.*Airflow connection 'campus_objects'") as caught:
            ask()
        assert not caught.value.transient
    store.close()


def test_a_server_that_is_down_is_unavailable_and_named_without_secrets(servers: Any) -> None:
    from botocore.config import Config

    kwargs = {
        **servers.s3_client_kwargs(),
        "endpoint_url": "http://127.0.0.1:1",
        "aws_secret_access_key": "s3cret",
        "config": Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    }
    store = S3Store(DATABASE, kwargs, "campus")
    with pytest.raises(Unavailable, match=r"http://127.0.0.1:1 .*'campus_objects'") as caught:
        store.check()
    assert caught.value.transient
    assert "s3cret" not in str(caught.value) + repr(store) + repr(caught.value.fields)
    store.close()


def test_an_address_that_is_none_is_refused_without_being_quoted() -> None:
    store = S3Store(DATABASE, {"endpoint_url": "me:s3cret@nowhere", "region_name": "auto"}, "campus")
    with pytest.raises(Refused, match="'campus_objects'") as caught:
        store.check()
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("InvalidAccessKeyId", 403, Refused),
        ("SignatureDoesNotMatch", 403, Refused),
        ("AccessDenied", 403, Refused),
        ("SlowDown", 503, Unavailable),
        ("InternalError", 500, Unavailable),
        ("InvalidTag", 400, DataError),
        ("KeyTooLongError", 400, DataError),
    ],
)
def test_answers_are_told_apart(store: S3Store, code: str, status: int, kind: type[Exception]) -> None:
    from botocore.exceptions import ClientError

    answer: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = store._connection.translate.error(ClientError(answer, "PutObject"), "writing")
    assert type(error) is kind
    assert "campus_objects" in str(error)
