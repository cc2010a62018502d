"""The object store writes each change once, and only over the object that it was computed from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from s3_stores import BUCKET, SCRATCH, a_store, longest

from lockstep.domain.errors import BadRecords, ConflictError, DataError, Unsupported
from lockstep.domain.exchange import Applied
from lockstep.domain.objects import StoredObject
from lockstep.domain.progress import Change, KeyRange
from lockstep.domain.resources import Bucket, Prefix
from lockstep.stores.s3 import S3Store, capabilities, staging
from lockstep.stores.s3.connection import OWN
from lockstep.stores.s3.scratch import MARK

DATABASE = Bucket("campus_objects")
UPLOADS = Prefix(DATABASE, "uploads/")
#: and, set by the fixture, the longest that the store takes
KEYS = ["uploads/a b.png", "uploads/ü+%20/🎒", "uploads/folder/", ""]


@pytest.fixture(
    params=[("bodies in the journal", BUCKET), ("bodies kept aside", BUCKET), ("bodies kept aside", SCRATCH)],
    ids=", ".join,
)
def store(servers: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Store]:
    """Return a store over a bucket of its own, with bodies of either kind: small and large ones."""
    bodies, where = request.param
    if bodies == "bodies kept aside":
        monkeypatch.setattr(staging, "INLINE", -1)
    with a_store(DATABASE, servers.s3_client_kwargs(), where) as made:
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


def stamped(one: StoredObject) -> StoredObject:
    return replace(
        one, body=one.body + b" stamped", content_type="text/y", metadata={"n": "2"}, tags={"t": "2"}
    )


def some_changes(store: S3Store, area: str = "run-1/000") -> list[Change]:
    """Return a transform, a change of metadata alone, a delete and a create."""
    fill(store)
    first, second, third, fourth = (store.get(key) for key in KEYS)
    new = StoredObject(
        key="uploads/new +", body=b"new", content_type="text/z", metadata={"a": "b"}, tags={"c": "d"}
    )
    return store.stage(
        area,
        [
            (first, stamped(first)),
            (second, replace(second, metadata={"n": "2"}, tags={})),
            (third, None),
            (fourth, stamped(fourth)),
            (None, new),
        ],
    )


def test_changes_are_written_as_they_were_asked_for(store: S3Store) -> None:
    changes = some_changes(store)
    assert store.apply(changes) == Applied(written=5)
    first = store.get(KEYS[0])
    assert first == StoredObject(
        key=KEYS[0],
        body=KEYS[0].encode() + b" stamped",
        content_type="text/y",
        metadata={"n": "2"},
        tags={"t": "2"},
    )
    assert headers(store, KEYS[0])["CacheControl"] == "no-store"
    assert store.get(KEYS[1]).metadata == {"n": "2"}
    assert store.get(KEYS[1]).tags == {}
    assert store.get(KEYS[1]).body == KEYS[1].encode()
    assert not store.exists(KEYS[2])
    assert store.get("uploads/new +").tags == {"c": "d"}


def test_written_twice_they_are_written_once(store: S3Store) -> None:
    changes = some_changes(store)
    store.apply(changes)
    held = store.fingerprint(UPLOADS)
    assert store.apply(changes) == Applied(already=5)
    assert store.fingerprint(UPLOADS) == held


@pytest.mark.parametrize("written", [1, 2, 3, 4])
def test_a_batch_cut_off_anywhere_is_finished_by_its_replay(store: S3Store, written: int) -> None:
    changes = some_changes(store)
    store.apply(changes[:written])
    assert store.apply(store.unpack(store.pack(changes))) == Applied(written=5 - written, already=written)


def test_a_batch_taken_back_leaves_what_was_there(store: S3Store) -> None:
    changes = some_changes(store)
    held = store.fingerprint(UPLOADS)
    store.apply(changes)
    assert store.fingerprint(UPLOADS) != held
    back = store.swap(store.unpack(store.pack(changes)))
    assert [change.key for change in back] == [change.key for change in reversed(changes)]
    assert store.apply(back) == Applied(written=5)
    assert store.fingerprint(UPLOADS) == held
    assert headers(store, KEYS[0])["CacheControl"] == "no-store"
    assert store.apply(back) == Applied(already=5)
    assert store.apply(changes) == Applied(written=5)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Wed, 02 Jan 2030 03:04:05 GMT", "Wed, 02 Jan 2030 03:04:05 GMT"),
        ("2030-01-02", "Wed, 02 Jan 2030 00:00:00 GMT"),
        # What is no date means that it has expired.
        ("never", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ],
)
def test_the_day_on_which_an_object_expires_stays(store: S3Store, said: str, kept: str) -> None:
    client, _ = store.handle()

    def say(params: dict[str, Any], **_: Any) -> None:
        params["headers"]["Expires"] = said

    client.meta.events.register("before-call.s3.PutObject", say)
    for key in KEYS[:2]:
        put(store, key, b"body")
    client.meta.events.unregister("before-call.s3.PutObject", say)
    first, second = (store.get(key) for key in KEYS[:2])
    staged = store.stage(
        "run-1/000", [(first, stamped(first)), (second, replace(second, metadata={"n": "2"}))]
    )
    changes = store.unpack(store.pack(staged))
    assert store.apply(changes) == Applied(written=2)
    assert [headers(store, key).get("ExpiresString") for key in KEYS[:2]] == [kept, kept]
    assert store.get(KEYS[0]).body == b"body stamped"
    assert store.apply(changes) == Applied(already=2)
    back = store.swap(changes)
    assert store.apply(back) == Applied(written=2)
    assert [headers(store, key).get("ExpiresString") for key in KEYS[:2]] == [kept, kept]
    assert store.get(KEYS[0]).body == b"body"


def test_staging_again_keeps_the_same_bodies_at_the_same_place(store: S3Store) -> None:
    def listed() -> list[str]:
        client, bucket = store.handle()
        found = client.list_objects_v2(Bucket=bucket, Prefix=OWN).get("Contents", ())
        return [item["Key"] for item in found if item["Key"] != MARK]

    first = some_changes(store)
    kept = listed()
    assert first == some_changes(store) == store.unpack(store.pack(first))
    assert listed() == kept
    assert len(kept) == (6 if staging.INLINE < 0 else 0)
    assert all(key.startswith("_lockstep/journal/run-1/000/") for key in kept)


def test_what_was_seen_with_its_body_is_staged_without_another_look(store: S3Store) -> None:
    fill(store)
    page = store.read(UPLOADS, suffix="", within=KeyRange(), after=None, limit=10, bodies=10**6)
    assert {seen.what.key: seen.what for seen in page.records} == {key: store.get(key) for key in KEYS}
    assert page.size == sum(len(seen.what.body) for seen in page.records)
    sent: list[str] = []
    client, _ = store.handle()
    assert store.capabilities
    client.meta.events.register("before-call.s3", lambda model, **_: sent.append(model.name))
    changes = store.stage("a", [(seen, stamped(seen.what)) for seen in page.records])
    assert sorted(sent) == ([] if staging.INLINE >= 0 else ["CopyObject"] * 4 + ["PutObject"] * 4)
    sent.clear()
    assert store.apply(changes) == Applied(written=4)
    assert len(sent) == 4 * (3 if store.capabilities.tags else 2)
    assert all(store.get(seen.what.key) == stamped(seen.what) for seen in page.records)


def test_an_object_that_changed_since_it_was_seen_is_left_and_named(store: S3Store) -> None:
    fill(store)
    page = store.read(UPLOADS, suffix="", within=KeyRange(), after=None, limit=10, bodies=10**6)
    put(store, KEYS[0], b"theirs")
    changes = store.stage("a", [(seen, stamped(seen.what)) for seen in page.records])
    assert store.apply(changes) == Applied(written=3, conflicts=(KEYS[0],))
    assert store.get(KEYS[0]).body == b"theirs"


def test_staging_changes_nothing_that_is_in_use(store: S3Store) -> None:
    fill(store)
    held = store.fingerprint(UPLOADS)
    some_changes(store)
    assert store.fingerprint(UPLOADS) == held


@pytest.mark.parametrize(
    "theirs",
    [
        {"Body": b"other body, other size"},
        {"Body": b"uploads/A b.png"},
        {"ContentType": "text/theirs"},
        {"Metadata": {"n": "7"}},
        {"Tagging": "t=7"},
        {"CacheControl": "public"},
    ],
    ids=["size", "body", "type", "metadata", "tags", "header"],
)
def test_an_object_that_somebody_else_changed_is_left_and_named(
    store: S3Store, theirs: dict[str, Any]
) -> None:
    changes = some_changes(store)
    was = {"ContentType": "text/x", "Metadata": {"n": "1"}, "Tagging": "t=1", "CacheControl": "no-store"}
    put(
        store,
        KEYS[0],
        **{"body": KEYS[0].encode(), **was, **{k: v for k, v in theirs.items() if k != "Body"}},
    )
    if "Body" in theirs:
        put(store, KEYS[0], theirs["Body"], **was)
    held = store.get(KEYS[0])
    assert store.apply(changes) == Applied(written=4, conflicts=(KEYS[0],))
    assert store.get(KEYS[0]) == held


def test_an_object_that_appeared_or_went_away_is_a_conflict(store: S3Store) -> None:
    changes = some_changes(store)
    client, bucket = store.handle()
    client.delete_object(Bucket=bucket, Key=KEYS[0])
    put(store, "uploads/new +", b"theirs")
    put(store, KEYS[2], b"no longer a folder")
    applied = store.apply(changes)
    assert set(applied.conflicts) == {KEYS[0], KEYS[2], "uploads/new +"}
    assert applied.written == 2


def test_an_object_that_changed_while_it_was_staged_is_a_conflict(store: S3Store) -> None:
    fill(store)
    read = store.get(KEYS[0])
    put(store, KEYS[0], b"x" * len(read.body), ContentType="text/x", Metadata={"n": "1"}, Tagging="t=1")
    with pytest.raises(ConflictError, match=r"uploads/a b\.png"):
        store.stage("run-1/001", [(read, stamped(read))])


def test_where_etags_are_no_digests_the_bodies_are_compared(store: S3Store) -> None:
    changes = [
        replace(
            change,
            before=change.before and {**change.before, "etag": '"other-1"'},
            after=change.after and {**change.after, "etag": '"other-2"'},
        )
        for change in some_changes(store)
    ]
    assert store.apply(changes) == Applied(written=5)
    assert store.apply(changes) == Applied(already=5)


def test_an_object_sent_in_parts_is_staged_by_its_body(store: S3Store) -> None:
    client, bucket = store.handle()
    upload = client.create_multipart_upload(Bucket=bucket, Key="uploads/parts")["UploadId"]
    named = {"Bucket": bucket, "Key": "uploads/parts", "UploadId": upload}
    part = client.upload_part(**named, PartNumber=1, Body=b"part one")
    client.complete_multipart_upload(
        **named, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    )
    read = store.get("uploads/parts")
    held = store.fingerprint(UPLOADS)
    changes = store.stage("run-1/002", [(read, stamped(read))])
    assert changes[0].before["opaque"]
    assert store.apply(changes) == Applied(written=1)
    assert store.apply(store.swap(changes)) == Applied(written=1)
    assert store.fingerprint(UPLOADS) == held
    assert store.apply(changes) == Applied(written=1)
    assert store.apply(changes) == Applied(already=1)


def test_an_object_that_the_server_does_not_take_is_refused_and_the_others_are_written(
    store: S3Store,
) -> None:
    from botocore.exceptions import ClientError

    changes = some_changes(store)
    held = store.fingerprint(UPLOADS)
    answer: Any = {"Error": {"Code": "MetadataTooLarge", "Message": "no"}, "ResponseMetadata": {}}
    client, _ = store.handle()

    def refuse(params: Any, model: Any, **_: Any) -> None:
        """Force a fault that no embedded server has: a limit of its own."""
        if "a%20b" in params["url_path"]:
            raise ClientError(answer, model.name)

    for name in ("CopyObject", "PutObject"):
        client.meta.events.register(f"before-call.s3.{name}", refuse)
    applied = store.apply(changes)
    assert (applied.written, applied.already, applied.conflicts) == (4, 0, ())
    assert [(one.key, one.shown) for one in applied.refused] == [(store.cursor_of(KEYS[0]), repr(KEYS[0]))]
    assert f"refused writing object {KEYS[0]!r}" in applied.refused[0].error
    assert store.get(KEYS[0]).body == KEYS[0].encode()
    # Taken back whole, a refused change has nothing to take back.
    assert store.apply(store.swap(changes)) == Applied(written=4, already=1)
    assert store.fingerprint(UPLOADS) == held


@pytest.mark.parametrize(
    "tags", [{"t": "a&b"}, {"<": "1"}, {f"t{n}": "1" for n in range(11)}, {"t": "x" * 257}]
)
def test_tags_that_s3_does_not_take_are_named_with_their_objects_before_anything_is_written(
    store: S3Store, tags: dict[str, str]
) -> None:
    wrong = [StoredObject(key=f"uploads/{name}", body=b"", tags=tags) for name in "xz"]
    right = StoredObject(key="uploads/y", body=b"y", tags={"t": "a", "é +-=._:/@": ""})
    with pytest.raises(
        BadRecords, match=r"'uploads/x' and 1 more: object 'uploads/x': .* what S3 takes"
    ) as bad:
        store.stage("a", [(None, wrong[0]), (None, right), (None, wrong[1])])
    assert [one.key for one in bad.value.records] == ['"uploads/x"', '"uploads/z"']
    assert keys(store) == []


def test_a_change_of_key_and_a_key_too_long_are_refused(store: S3Store) -> None:
    fill(store)
    read = store.get(KEYS[0])
    with pytest.raises(DataError, match=r"ops\.move_objects"):
        store.stage("a", [(read, replace(read, key="uploads/other"))])
    with pytest.raises(DataError, match=r"1 to \d+ bytes"):
        store.stage("a", [(None, replace(read, key="k" * 1025))])
    with pytest.raises(DataError, match="an object before or after"):
        store.stage("a", [(None, None)])


def test_metadata_that_cannot_travel_is_named(store: S3Store) -> None:
    with pytest.raises(DataError, match="'uploads/x': metadata 'name' must be ASCII"):
        store.stage("a", [(None, StoredObject(key="uploads/x", body=b"", metadata={"name": "é"}))])


def test_metadata_is_compared_in_the_form_that_servers_give_it_back(store: S3Store) -> None:
    new = StoredObject(
        key="uploads/x", body=b"", metadata={"Owner": " uid-1 "}, tags={"b": "x 1", "a": "x.y/z_9"}
    )
    changes = store.stage("a", [(None, new)])
    assert store.apply(changes) == Applied(written=1)
    assert store.get("uploads/x").metadata == {"owner": "uid-1"}
    assert store.get("uploads/x").tags == new.tags
    assert store.apply(changes) == Applied(already=1)


def test_descriptions_change_without_a_body_being_read_or_kept(store: S3Store) -> None:
    fill(store)
    client, _ = store.handle()
    held = store.fingerprint(UPLOADS)
    assert store.capabilities
    sent: list[str] = []
    client.meta.events.register("before-call.s3", lambda model, **_: sent.append(model.name))
    infos = store.read(UPLOADS, suffix="", within=KeyRange(), after=None, limit=10).records
    pairs = [
        (
            seen,
            replace(
                seen.what, content_type="text/new", metadata={**seen.what.metadata, "seen": "1"}, tags={}
            ),
        )
        for seen in infos
    ]
    changes = store.stage_metadata(pairs)
    assert store.apply(changes) == Applied(written=4)
    assert store.apply(changes) == Applied(already=4)
    assert not {"GetObject", "PutObject"} & set(sent)
    one = store.get(KEYS[0])
    assert (one.content_type, one.metadata, one.tags) == ("text/new", {"n": "1", "seen": "1"}, {})
    assert one.body == KEYS[0].encode()
    assert headers(store, KEYS[0])["CacheControl"] == "no-store"
    assert store.apply(store.swap(changes)) == Applied(written=4)
    assert store.fingerprint(UPLOADS) == held


def test_descriptions_of_an_object_that_changed_are_refused(store: S3Store) -> None:
    fill(store)
    seen = store.read(UPLOADS, suffix="", within=KeyRange(), after=None, limit=1).records[0]
    info = seen.what
    with pytest.raises(DataError, match=r"ops\.transform_objects"):
        store.stage_metadata([(info, replace(info, size=1))])
    put(store, info.key, b"theirs")
    with pytest.raises(ConflictError):
        store.stage_metadata([(info, replace(info, content_type="text/new"))])
    changes = store.stage_metadata([(seen, replace(info, content_type="text/new"))])
    assert store.apply(changes) == Applied(conflicts=(info.key,))


def test_what_a_server_guards_is_found_by_asking_it(store: S3Store) -> None:
    found = store.capabilities
    assert found.tags
    client, bucket = store.handle()
    put(store, "uploads/a", b"1")
    source = {"Bucket": bucket, "Key": "uploads/a"}

    def refused(**condition: str) -> bool:
        return capabilities._refuses(
            lambda: client.copy_object(Bucket=bucket, Key="uploads/b", CopySource=source, **condition)
        )

    client.copy_object(Bucket=bucket, Key="uploads/b", CopySource=source)
    assert refused(IfNoneMatch="*") == found.guards_creates
    assert refused(IfMatch=capabilities.OTHER_ETAG) == found.guards_overwrites

    def refused_put(**condition: str) -> bool:
        return capabilities._refuses(
            lambda: client.put_object(Bucket=bucket, Key="uploads/b", Body=b"2", **condition)
        )

    both = refused_put(IfNoneMatch="*") and refused_put(IfMatch=capabilities.OTHER_ETAG)
    assert both == found.guards_puts
    assert client.list_objects_v2(Bucket=bucket, Prefix="_lockstep/probe/")["KeyCount"] == 0


@pytest.mark.parametrize("able", [True, False])
def test_conditions_are_sent_where_the_server_keeps_them_and_only_there(store: S3Store, able: bool) -> None:
    changes = some_changes(store)
    store._connection._capabilities = replace(
        store.capabilities,
        guards_creates=able,
        guards_overwrites=able,
        guards_puts=able,
        guards_deletes=able,
    )
    client, _ = store.handle()
    sent: list[tuple[str, dict[str, Any]]] = []
    client.meta.events.register(
        "provide-client-params.s3", lambda params, model, **_: sent.append((model.name, dict(params)))
    )
    assert store.apply(changes) == Applied(written=5)
    written = [params for name, params in sent if name in ("CopyObject", "DeleteObject", "PutObject")]
    assert len(written) == 5
    assert all(("IfMatch" in params or "IfNoneMatch" in params) == able for params in written)


@pytest.mark.parametrize("position", [0, 2, 4])
def test_a_condition_that_fails_leaves_the_object_to_who_was_faster(store: S3Store, position: int) -> None:
    from botocore.exceptions import ClientError

    changes = some_changes(store)
    held = store.fingerprint(UPLOADS)
    answer: Any = {"Error": {"Code": "PreconditionFailed", "Message": "no"}}
    client, _ = store.handle()

    def refuse(model: Any, **_: Any) -> None:
        raise ClientError(answer, model.name)

    for name in ("CopyObject", "DeleteObject", "PutObject"):
        client.meta.events.register(f"before-call.s3.{name}", refuse)
    applied = store.apply([changes[position]])
    for name in ("CopyObject", "DeleteObject", "PutObject"):
        client.meta.events.unregister(f"before-call.s3.{name}", refuse)
    assert applied == Applied(conflicts=(changes[position].key,))
    assert store.fingerprint(UPLOADS) == held


@pytest.mark.parametrize(("code", "known"), [("PreconditionFailed", True), ("NotImplemented", False)])
def test_a_server_that_does_not_know_a_condition_is_not_trusted_with_it(code: str, known: bool) -> None:
    from botocore.exceptions import ClientError

    def answer() -> None:
        raise ClientError({"Error": {"Code": code}}, "CopyObject")

    assert capabilities._refuses(answer) is known
    assert capabilities._refuses(lambda: None) is False


def test_a_server_without_tags_is_not_asked_for_them(store: S3Store) -> None:
    put(store, "uploads/a", b"1", Tagging="t=1")
    store._connection._capabilities = replace(store.capabilities, tags=False, counts_tags=False)
    assert store.get("uploads/a").tags == {}
    plain = store.stage("a", [(None, StoredObject(key="uploads/b", body=b"1"))])
    assert store.apply(plain) == Applied(written=1)
    tagged = store.stage("a", [(None, StoredObject(key="uploads/c", body=b"1", tags={"t": "1"}))])
    with pytest.raises(Unsupported, match="'uploads/c' is to have tags"):
        store.apply(tagged)


def test_a_server_that_counts_no_tags_is_asked_for_them(store: S3Store) -> None:
    put(store, "uploads/a", b"1", Tagging="t=1")
    store._connection._capabilities = replace(store.capabilities, counts_tags=False)
    assert store.get("uploads/a").tags == {"t": "1"}


def test_what_is_no_batch_is_refused(store: S3Store) -> None:
    with pytest.raises(DataError, match="no batch"):
        store.unpack(b"not zstandard")
    assert store.unpack(store.pack([])) == []


def test_an_empty_batch_is_nothing(store: S3Store) -> None:
    assert store.stage("a", []) == []
    assert store.stage_moves([]) == []
    assert store.apply([]) == Applied()
