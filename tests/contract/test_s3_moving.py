"""The object store moves objects, whatever may cut it off."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from s3_stores import BUCKET, SCRATCH, a_store, longest

from lockstep.domain.errors import ConflictError, DataError
from lockstep.domain.exchange import Applied
from lockstep.domain.progress import KeyRange
from lockstep.domain.resources import Bucket, Prefix
from lockstep.stores.s3 import S3Store, capabilities, copying

DATABASE = Bucket("campus_objects")
UPLOADS = Prefix(DATABASE, "uploads/")
MEDIA = Prefix(DATABASE, "media/")
#: and, set by the fixture, the longest that the store takes
KEYS = ["uploads/a b.png", "uploads/ü+%20/🎒", "uploads/folder/", ""]


class Killed(BaseException):
    """The worker ends here."""


@pytest.fixture(
    params=[("deleted together", BUCKET), ("deleted one by one", BUCKET), ("deleted together", SCRATCH)],
    ids=", ".join,
)
def store(servers: Any, request: pytest.FixtureRequest) -> Iterator[S3Store]:
    """Return a store over a bucket of its own; sources go in either way."""
    how, where = request.param
    with a_store(DATABASE, servers.s3_client_kwargs(), where) as made:
        together = made.capabilities.deletes_many and how == "deleted together"
        made._connection._capabilities = replace(made.capabilities, deletes_many=together)
        KEYS[3] = longest("uploads/", made, "l")
        yield made


def put(store: S3Store, key: str, body: bytes = b"", **more: Any) -> None:
    client, bucket = store.handle()
    client.put_object(Bucket=bucket, Key=key, Body=body, **more)


def headers(store: S3Store, key: str) -> dict[str, Any]:
    client, bucket = store.handle()
    found: dict[str, Any] = client.head_object(Bucket=bucket, Key=key)
    return found


def keys(store: S3Store, prefix: Prefix = UPLOADS) -> list[str]:
    page = store.read(prefix, suffix="", within=KeyRange(), after=None, limit=1000)
    return [seen.what.key for seen in page.records]


def fill(store: S3Store) -> None:
    for key in KEYS:
        body = b"" if key.endswith("/") else key.encode()
        put(
            store,
            key,
            body,
            ContentType="text/x",
            Metadata={"n": "1"},
            Tagging="t=1",
            CacheControl="no-store",
        )


def to_media(key: str) -> tuple[str, str]:
    return key, "media/" + key.removeprefix("uploads/")


def test_objects_move_with_all_that_they_have_and_home_again(store: S3Store) -> None:
    fill(store)
    held = store.fingerprint(UPLOADS)
    changes = store.unpack(store.pack(store.stage_moves([to_media(key) for key in KEYS])))
    assert store.apply(changes) == Applied(written=4)
    assert keys(store) == []
    assert sorted(keys(store, MEDIA)) == sorted(to_media(key)[1] for key in KEYS)
    moved = store.get("media/a b.png")
    assert (moved.content_type, moved.metadata, moved.tags) == ("text/x", {"n": "1"}, {"t": "1"})
    assert headers(store, "media/a b.png")["CacheControl"] == "no-store"
    assert store.apply(changes) == Applied(already=4)
    back = store.swap(changes)
    assert store.apply(back) == Applied(written=4)
    assert keys(store, MEDIA) == []
    assert store.fingerprint(UPLOADS) == held
    assert store.apply(back) == Applied(already=4)


@pytest.mark.parametrize("operation", ["CopyObject", "DeleteObject"])
@pytest.mark.parametrize("when", ["before-call", "after-call"])
def test_a_move_killed_anywhere_is_finished_or_taken_back(store: S3Store, operation: str, when: str) -> None:
    fill(store)
    held = store.fingerprint(UPLOADS)
    changes = store.stage_moves([to_media(key) for key in KEYS])
    client, _ = store.handle()
    seen: list[str] = []
    # One request deletes all, or each has its own; the second one is killed where there are several.
    together = store.capabilities.deletes_many and operation == "DeleteObject"
    operation = "DeleteObjects" if together else operation

    def kill(**_: Any) -> None:
        seen.append(operation)
        if len(seen) > 1 or together:
            raise Killed

    client.meta.events.register(f"{when}.s3.{operation}", kill)
    with pytest.raises(Killed):
        store.apply(changes)
    client.meta.events.unregister(f"{when}.s3.{operation}", kill)
    there = len(keys(store)) + len(keys(store, MEDIA))
    assert there >= len(KEYS)
    assert store.apply(changes).conflicts == ()
    assert keys(store) == []
    assert len(keys(store, MEDIA)) == len(KEYS)
    assert store.apply(store.swap(changes)).conflicts == ()
    assert store.fingerprint(UPLOADS) == held
    assert keys(store, MEDIA) == []


def test_an_undo_after_a_kill_between_copy_and_delete_leaves_no_copy(store: S3Store) -> None:
    fill(store)
    held = store.fingerprint(UPLOADS)
    changes = store.stage_moves([to_media(KEYS[0])])
    client, _ = store.handle()

    def kill(**_: Any) -> None:
        raise Killed

    for name in ("DeleteObject", "DeleteObjects"):
        client.meta.events.register(f"before-call.s3.{name}", kill)
    with pytest.raises(Killed):
        store.apply(changes)
    for name in ("DeleteObject", "DeleteObjects"):
        client.meta.events.unregister(f"before-call.s3.{name}", kill)
    assert store.exists("media/a b.png")
    assert store.apply(store.swap(changes)) == Applied(written=1)
    assert keys(store, MEDIA) == []
    assert store.fingerprint(UPLOADS) == held


def test_two_objects_never_move_to_one_key(store: S3Store) -> None:
    fill(store)
    held = store.fingerprint(UPLOADS)
    with pytest.raises(DataError, match="would both become 'media/x'"):
        store.stage_moves([(KEYS[0], "media/x"), (KEYS[1], "media/x")])
    put(store, "media/x", b"mine")
    with pytest.raises(DataError, match=r"would become 'media/x'.*there already"):
        store.stage_moves([(KEYS[0], "media/x")])
    assert store.fingerprint(UPLOADS) == held
    assert store.get("media/x").body == b"mine"


def test_a_move_is_refused_where_either_end_changed_since(store: S3Store) -> None:
    fill(store)
    changes = store.stage_moves([to_media(key) for key in KEYS])
    put(store, "media/a b.png", b"theirs")
    put(store, KEYS[1], b"theirs")
    client, bucket = store.handle()
    client.delete_object(Bucket=bucket, Key=KEYS[2])
    applied = store.apply(changes)
    assert applied == Applied(written=1, conflicts=tuple(KEYS[:3]))
    assert store.get("media/a b.png").body == b"theirs"
    assert store.get(KEYS[0]).body == KEYS[0].encode()
    assert store.get(KEYS[1]).body == b"theirs"


def test_a_move_of_what_is_gone_is_a_conflict_and_one_that_was_done_is_done(store: S3Store) -> None:
    with pytest.raises(ConflictError):
        store.stage_moves([("uploads/nothing", "media/nothing")])
    fill(store)
    store.apply(store.stage_moves([to_media(KEYS[0])]))
    again = store.stage_moves([to_media(KEYS[0])])
    assert store.apply(again) == Applied(already=1)
    assert store.apply(store.swap(again)) == Applied(written=1)
    assert store.get(KEYS[0]).body == KEYS[0].encode()


def test_the_longest_key_is_parked_under_a_shorter_one_and_comes_home(store: S3Store) -> None:
    fill(store)
    held = store.fingerprint(UPLOADS)
    changes = store.stage_moves([(key, f"_lockstep/parked/run-1/000/{key}") for key in KEYS])
    assert store.apply(changes) == Applied(written=4)
    assert keys(store) == []
    assert store.apply(store.swap(changes)) == Applied(written=4)
    assert store.fingerprint(UPLOADS) == held
    with pytest.raises(DataError, match=r"1 to \d+ bytes"):
        store.stage_moves([(KEYS[3], "media/much/deeper/" + KEYS[3])])


def test_sources_are_deleted_by_one_request_where_the_server_takes_it(store: S3Store) -> None:
    fill(store)
    changes = store.stage_moves([to_media(key) for key in KEYS])
    sent: list[str] = []
    client, _ = store.handle()
    client.meta.events.register("before-call.s3", lambda model, **_: sent.append(model.name))
    assert store.apply(changes) == Applied(written=4)
    deletes = [name for name in sent if name.startswith("Delete")]
    assert deletes == (["DeleteObjects"] if store.capabilities.deletes_many else ["DeleteObject"] * 4)


def test_a_source_that_the_server_does_not_delete_is_named(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    store._connection._capabilities = replace(store.capabilities, deletes_many=True)
    changes = store.stage_moves([to_media(key) for key in KEYS])
    client, _ = store.handle()
    refused = {"Errors": [{"Key": KEYS[1], "Code": "AccessDenied", "Message": "no"}]}
    monkeypatch.setattr(client, "delete_objects", lambda **_: refused)
    with pytest.raises(DataError, match=re.escape(f"has not deleted object {KEYS[1]!r}") + ".*AccessDenied"):
        store.apply(changes)
    monkeypatch.undo()
    assert store.apply(changes) == Applied(written=4)


def test_whether_a_server_deletes_several_at_once_is_found_by_asking_it(
    store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import ClientError

    client, bucket = store.handle()
    assert capabilities._deletes_many(client, bucket, ("a", "b"))

    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "MissingContentMD5"}}, "DeleteObjects")

    monkeypatch.setattr(client, "delete_objects", refuse)
    assert not capabilities._deletes_many(client, bucket, ("a", "b"))
    assert client.list_objects_v2(Bucket=bucket, Prefix="a")["KeyCount"] == 0
    assert client.list_objects_v2(Bucket=bucket, Prefix="b")["KeyCount"] == 0


def test_objects_too_large_for_one_copy_go_in_parts(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    body = hashlib.sha256(b"x").digest() * (6 * 1024 * 1024 // 32)
    put(store, "uploads/large", body, ContentType="text/x", Metadata={"n": "1"}, Tagging="t=1")
    held = store.fingerprint(UPLOADS)
    assert store.capabilities
    monkeypatch.setattr(copying, "LARGEST_COPY", 1024 * 1024)
    monkeypatch.setattr(copying, "PART", 5 * 1024 * 1024)
    changes = store.stage_moves([("uploads/large", "media/large")])
    assert store.apply(changes) == Applied(written=1)
    assert "-" in headers(store, "media/large")["ETag"]
    assert store.get("media/large").tags == {"t": "1"}
    assert store.apply(changes) == Applied(already=1)
    assert store.apply(store.swap(changes)) == Applied(written=1)
    assert store.fingerprint(UPLOADS) == held
