"""The document store reads, counts and fingerprints without losing a document or a bit."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from pymongo import MongoClient

from lockstep.domain.errors import DataError, Refused, Unavailable, Unsupported
from lockstep.domain.progress import Change, Fingerprint, KeyRange
from lockstep.domain.resources import Collection, Mongo
from lockstep.stores.mongo import MongoStore, codec
from lockstep.stores.mongo import ranges as planning

DATABASE = Mongo("campus_documents")
PEOPLE = Collection(DATABASE, "people")
WHOLE = KeyRange()
NOON = datetime(2024, 2, 29, 12, 0, 0, 123000, tzinfo=timezone.utc)


@pytest.fixture
def store(servers: Any) -> Iterator[MongoStore]:
    """Return a store over a database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    made = MongoStore(DATABASE, servers.mongo_uri, name)
    yield made
    made._connection.client.drop_database(name)
    made.close()


def every_id(store: MongoStore, within: KeyRange = WHOLE, *, where: Any = None, limit: int = 3) -> list[Any]:
    """Page through a range; fail rather than go round in circles."""
    found: list[Any] = []
    cursor = None
    for _ in range(1000):
        page = store.read(PEOPLE, where=where, within=within, after=cursor, limit=limit)
        assert len(page.records) <= limit
        found += [document["_id"] for document in page.records]
        cursor = page.cursor
        if page.last:
            return found
    raise AssertionError("the pages never end")


def put(store: MongoStore, *documents: dict[str, Any]) -> None:
    store.handle(PEOPLE).insert_many(list(documents))


def test_an_absent_collection_reads_as_empty_and_is_not_created_by_looking(store: MongoStore) -> None:
    store.create_collection(Collection(DATABASE, "another"), None)
    page = store.read(PEOPLE, where=None, within=WHOLE, after=None, limit=5)
    assert (page.records, page.cursor, page.last) == ((), None, True)
    assert store.count(PEOPLE) == 0
    assert store.count(PEOPLE, {"a": 1}) == 0
    assert store.plan_ranges(PEOPLE, where=None, shards=4, least=1) == [KeyRange(estimate=0)]
    assert not store.fingerprint(PEOPLE).present
    assert store.index_on(PEOPLE, [("a", 1)]) is None
    assert not store.exists(PEOPLE)


def test_an_empty_collection_is_present(store: MongoStore) -> None:
    assert store.create_collection(PEOPLE, None)
    assert store.exists(PEOPLE)
    held = store.fingerprint(PEOPLE)
    assert (held.present, held.count) == (True, 0)
    assert store.read(PEOPLE, where=None, within=WHOLE, after=None, limit=5).last


@pytest.mark.parametrize(
    "ids",
    [
        [f"uid-{n:04}" for n in range(10)],
        ["", " ", "a b", "é", "日本", "🎒", 'quote"s', "$dollar", "a.b", "Z", "z"],
        [ObjectId(f"{n:024x}") for n in range(10)],
        list(range(-3, 12)),
        [Int64(2**40 + n) for n in range(5)],
        [0.5, 1.5, -2.25],
        [datetime(2020, 1, day, tzinfo=timezone.utc) for day in range(1, 9)],
    ],
    ids=["strings", "odd strings", "ObjectIds", "ints", "longs", "floats", "dates"],
)
def test_pages_meet_every_document_once(store: MongoStore, ids: list[Any]) -> None:
    put(store, *({"_id": one, "n": position} for position, one in enumerate(reversed(ids))))
    found = every_id(store)
    assert len(found) == len(ids)
    assert {codec.key_text(one) for one in found} == {codec.key_text(one) for one in ids}


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_pages_lose_no_document_where_ids_are_of_several_types(store: MongoStore, limit: int) -> None:
    ids = ["a", "b", "", "zz", 3, 2.5, ObjectId("0" * 24), ObjectId("f" * 24), NOON, "é"]
    put(store, *({"_id": one} for one in ids))
    found = every_id(store, limit=limit)
    assert len(found) == len(ids)
    assert {codec.key_text(one) for one in found} == {codec.key_text(one) for one in ids}


def test_ranges_are_open_below_and_closed_above(store: MongoStore) -> None:
    put(store, *({"_id": letter} for letter in "abcdef"))
    edges = KeyRange(lower=store.key_text("b"), upper=store.key_text("d"))
    assert every_id(store, edges) == ["c", "d"]
    assert every_id(store, edges, limit=1) == ["c", "d"]
    assert every_id(store, edges, limit=2) == ["c", "d"]
    assert every_id(store, KeyRange(lower=store.key_text("d"))) == ["e", "f"]
    assert every_id(store, KeyRange(upper=store.key_text("b"))) == ["a", "b"]
    assert every_id(store, KeyRange(lower=store.key_text("b"), upper=store.key_text("b"))) == []
    assert every_id(store, KeyRange(lower=store.key_text("bb"), upper=store.key_text("dd"))) == ["c", "d"]


def test_a_cursor_goes_on_after_its_document_was_deleted(store: MongoStore) -> None:
    put(store, *({"_id": letter} for letter in "abcdef"))
    page = store.read(PEOPLE, where=None, within=WHOLE, after=None, limit=3)
    store.handle(PEOPLE).delete_one({"_id": "c"})
    rest = store.read(PEOPLE, where=None, within=WHOLE, after=page.cursor, limit=5)
    assert [document["_id"] for document in rest.records] == ["d", "e", "f"]
    assert rest.last


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ({"even": True}, [0, 2, 4, 6, 8]),
        ({"n": {"$gt": 6}}, [7, 8, 9]),
        ({"list": {"$elemMatch": {"q": {"$exists": True}}}}, [5, 6, 7, 8, 9]),
        ({"$or": [{"s": {"$regex": "x[13]"}}, {"n": {"$in": [8, 9]}}]}, [1, 3, 8, 9]),
        ({"nowhere": {"$exists": True}}, []),
    ],
    ids=["plain", "range", "elements", "alternatives", "nothing"],
)
@pytest.mark.parametrize("shards", [1, 3])
def test_a_filter_holds_beside_the_range(
    store: MongoStore, where: dict[str, Any], wanted: list[int], shards: int
) -> None:
    put(
        store,
        *(
            {"_id": f"u{n}", "n": n, "even": n % 2 == 0, "s": f"x{n}", "list": [{"q": n}] if n > 4 else []}
            for n in range(10)
        ),
    )
    ranges = store.plan_ranges(PEOPLE, where=where, shards=shards, least=1)
    found = [one for within in ranges for one in every_id(store, within, where=where, limit=2)]
    assert sorted(found) == [f"u{n}" for n in wanted]
    assert store.count(PEOPLE, where) == len(wanted)


@pytest.mark.parametrize(
    ("documents", "shards", "least", "expected"),
    [(100, 4, 1, 4), (100, 4, 50, 2), (100, 4, 1000, 1), (3, 8, 1, 3), (0, 8, 1, 1)],
)
def test_ranges_cover_everything_in_at_most_so_many_shards(
    store: MongoStore, documents: int, shards: int, least: int, expected: int
) -> None:
    store.create_collection(PEOPLE, None)
    if documents:
        put(store, *({"_id": f"u{n:05}"} for n in range(documents)))
    ranges = store.plan_ranges(PEOPLE, where=None, shards=shards, least=least)
    assert len(ranges) == expected
    assert ranges[0].lower is None
    assert ranges[-1].upper is None
    assert [one.upper for one in ranges[:-1]] == [one.lower for one in ranges[1:]]
    parts = [every_id(store, within, limit=40) for within in ranges]
    assert sorted(one for part in parts for one in part) == [f"u{n:05}" for n in range(documents)]
    if documents:
        assert min(len(part) for part in parts) >= min(least, documents // expected)


@pytest.mark.parametrize(
    "value",
    [
        "uid-1",
        5,
        Int64(5),
        2**40,
        2.0,
        ObjectId("0" * 24),
        NOON,
        {"b": 1, "a": Int64(2)},
        Binary(b"0123456789abcdef", 4),
        b"bytes",
        True,
        DatetimeMS(2**60),
        Decimal128("1.50"),
        Timestamp(1, 2),
        MinKey(),
    ],
    ids=str,
)
def test_an_id_becomes_text_and_back(store: MongoStore, value: Any) -> None:
    assert codec.same_key(codec.key_of(store.key_text(value)), value)


def test_ids_that_differ_have_different_texts(store: MongoStore) -> None:
    values = [
        "5",
        5,
        Int64(5),
        5.0,
        {"a": 1, "b": 2},
        {"b": 2, "a": 1},
        {"a": 1},
        ObjectId("5" * 24),
        "5" * 24,
    ]
    assert len({store.key_text(value) for value in values}) == len(values)
    assert store.key_text(uuid.UUID(int=7)) == store.key_text(Binary.from_uuid(uuid.UUID(int=7)))


EVERY_TYPE: dict[str, Any] = {
    "_id": "x",
    "int": 5,
    "long": Int64(5),
    "double": 5.0,
    "minus zero": -0.0,
    "nan": float("nan"),
    "decimal": Decimal128("1.50"),
    "text": "é",
    "nothing": None,
    "yes": True,
    "date": NOON,
    "far date": DatetimeMS(2**60),
    "id": ObjectId("a" * 24),
    "bytes": b"abc",
    "uuid": Binary(b"0123456789abcdef", 4),
    "old uuid": Binary(b"0123456789abcdef", 3),
    "odd uuid": Binary(b"short", 4),
    "own binary": Binary(b"abc", 128),
    "pattern": Regex("a+", "im"),
    "timestamp": Timestamp(1, 2),
    "code": Code("f()", {"a": 1}),
    "bounds": [MinKey(), MaxKey()],
    "nested": {"z": 1, "a": [{"y": Int64(1), "b": None}, []]},
    "$odd": {"$x": 1, "a.b": 2},
}


def test_every_type_is_decoded_so_that_it_encodes_to_the_same_bytes(store: MongoStore) -> None:
    raw = bson.encode(EVERY_TYPE, codec_options=codec.ENCODE)
    document = codec.decode(raw)
    assert type(document) is dict
    assert type(document["nested"]["a"][0]) is dict
    assert document["date"].utcoffset().total_seconds() == 0
    assert codec.encode(document) == raw


def test_documents_are_the_same_only_byte_for_byte(store: MongoStore) -> None:
    assert store.same({"_id": 1, "a": [1]}, {"_id": 1, "a": [1]})
    assert store.same({"a": 1, "_id": 1}, {"_id": 1, "a": 1})  # servers keep _id first
    assert not store.same({"_id": 1, "a": 1, "b": 2}, {"_id": 1, "b": 2, "a": 1})
    assert not store.same({"_id": 1, "a": 1}, {"_id": 1, "a": Int64(1)})
    assert not store.same({"_id": 1, "a": 1}, {"_id": 1, "a": 1.0})
    assert not store.same({"_id": 1, "a": None}, {"_id": 1})
    assert store.same(None, None)
    assert not store.same(None, {"_id": 1})


def test_a_value_without_a_bson_form_is_named_by_its_document(store: MongoStore) -> None:
    with pytest.raises(DataError, match='"u1" has no BSON form'):
        store.same({"_id": "u1", "a": {1, 2}}, {"_id": "u1"})
    with pytest.raises(DataError, match='"u1"'):
        store.pack([Change(key='"u1"', before=None, after={"_id": "u1", "n": 2**70})])


def test_fetch_returns_what_is_there_by_key(store: MongoStore) -> None:
    oid = ObjectId()
    put(store, {"_id": "a", "n": 1}, {"_id": 7, "n": 2}, {"_id": oid, "n": 3})
    found = store.fetch(PEOPLE, ["a", 7, oid, "missing"])
    assert {key: document["n"] for key, document in found.items()} == {
        store.key_text("a"): 1,
        store.key_text(7): 2,
        store.key_text(oid): 3,
    }
    assert store.fetch(PEOPLE, []) == {}


def test_fetch_takes_more_ids_than_one_question_holds(store: MongoStore) -> None:
    put(store, *({"_id": n} for n in range(2500)))
    assert len(store.fetch(PEOPLE, list(range(2500)))) == 2500


def test_ids_that_the_server_cannot_find_again_are_refused_by_kind(store: MongoStore) -> None:
    put(store, {"_id": {"a": 1}}, {"_id": "plain"})
    if "document" in store.capabilities.bounds:
        assert every_id(store) == ["plain", {"a": 1}]
        return
    with pytest.raises(Unsupported, match="of the kind 'document'"):
        every_id(store)
    with pytest.raises(Unsupported, match="of the kind 'binary'"):
        store.fetch(PEOPLE, [b"x"])


def test_ids_of_every_kind_are_taken_where_the_server_finds_them(store: MongoStore) -> None:
    from lockstep.stores.mongo.capabilities import IDS
    from lockstep.stores.mongo.reading import require_addressable

    everything = replace(store.capabilities, bounds=dict.fromkeys(IDS, "value"))
    store._connection._capabilities = everything
    for value in ({"a": 1}, b"x", Timestamp(1, 2), True, "s", 5):
        assert require_addressable(store._connection, PEOPLE, value) == "value"


def test_fingerprints_do_not_depend_on_the_order_of_writing(store: MongoStore) -> None:
    documents = [{"_id": f"u{n}", "n": n, "list": [n, {"a": n}]} for n in range(50)]
    put(store, *documents)
    first = store.fingerprint(PEOPLE)
    store.handle(PEOPLE).drop()
    put(store, *reversed(documents))
    assert store.fingerprint(PEOPLE) == first
    assert first.count == 50


@pytest.mark.parametrize("_id", ["u1", 5, 2**40, 1.5, ObjectId(), NOON])
def test_fingerprints_tell_keys_from_content(store: MongoStore, _id: Any) -> None:
    put(store, {"_id": _id, "n": 1, "m": 2}, {"_id": "other"})
    first = store.fingerprint(PEOPLE)
    store.handle(PEOPLE).replace_one({"_id": _id}, {"m": 2, "n": 1})
    second = store.fingerprint(PEOPLE)
    assert second.keys == first.keys
    assert second.content != first.content
    store.handle(PEOPLE).delete_one({"_id": "other"})
    put(store, {"_id": "another"})
    assert store.fingerprint(PEOPLE).keys != first.keys


def test_the_key_of_a_raw_document_is_found_whatever_its_type() -> None:
    from lockstep.stores.mongo.codec import id_bytes

    for value in [*EVERY_TYPE.values()]:
        alone = bson.encode({"_id": value}, codec_options=codec.ENCODE)[4:-1]
        other = bson.encode({"x": 1}, codec_options=codec.ENCODE)[4:-1]
        for elements in (alone + other, other + alone):
            raw = (len(elements) + 5).to_bytes(4, "little") + elements + b"\0"
            assert id_bytes(raw) == alone


def test_the_check_says_where_it_is(store: MongoStore) -> None:
    facts = store.check()
    assert facts["database"] == store._connection.dbname
    assert all(isinstance(value, str) for value in facts.values())


def test_a_server_that_is_down_is_unavailable_and_named_without_its_password() -> None:
    uri = "mongodb://reader:s3cret@127.0.0.1:1/?serverSelectionTimeoutMS=50"
    store = MongoStore(DATABASE, uri, "campus")
    with pytest.raises(Unavailable) as caught:
        store.check()
    assert "campus_documents" in str(caught.value)
    assert "127.0.0.1:1" in str(caught.value)
    assert caught.value.transient
    for shown in (str(caught.value), repr(store), repr(caught.value.fields), str(caught.value.__cause__)):
        assert "s3cret" not in shown
    store.close()


def test_a_uri_that_cannot_be_read_names_the_connection_and_not_the_password() -> None:
    store = MongoStore(DATABASE, "mongodb://reader:s3/cret@host:12x/", "campus")
    with pytest.raises(Refused, match="'campus_documents'") as caught:
        store.check()
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_wrong_credentials_are_refused_and_name_the_airflow_connection(store: MongoStore) -> None:
    from pymongo.errors import OperationFailure

    error = store._connection.translate.error(OperationFailure("Authentication failed.", 18), "saying hello")
    assert isinstance(error, Refused)
    assert not error.transient
    assert "Airflow connection 'campus_documents'" in str(error)


def test_a_lost_connection_and_an_election_are_worth_a_retry(store: MongoStore) -> None:
    from pymongo.errors import AutoReconnect, NotPrimaryError, OperationFailure, ProtocolError

    translate = store._connection.translate
    for problem in (
        AutoReconnect("reset"),
        NotPrimaryError("stepped down"),
        ProtocolError("another answer"),
        OperationFailure("write conflict", 112),
    ):
        assert isinstance(translate.error(problem, "writing"), Unavailable)
    assert isinstance(translate.error(OperationFailure("no such operator", 2), "writing"), DataError)


def test_the_handle_is_a_collection_that_takes_native_uuids(store: MongoStore) -> None:
    handle = store.handle(PEOPLE)
    assert handle.name == "people"
    assert isinstance(handle.database.client, MongoClient)
    handle.insert_one({"_id": "u", "at": NOON})
    assert handle.find_one({"_id": "u"})["at"] == NOON


def test_places_are_passed_by_or_taken_alone(store: MongoStore) -> None:
    ids: list[Any] = ["a", "b", "c", "d", 5, 6.5]
    put(store, *({"_id": one, "even": place % 2 == 0} for place, one in enumerate(ids)))
    left = [store.cursor_of({"_id": one}) for one in ("b", 5, "none")]
    found: list[Any] = []
    cursor, last = None, False
    while not last:
        page = store.read(PEOPLE, where=None, within=WHOLE, after=cursor, limit=2, excluding=left)
        found, cursor, last = [*found, *(one["_id"] for one in page.records)], page.cursor, page.last
    assert {codec.key_text(one) for one in found} == {codec.key_text(one) for one in ("a", "c", "d", 6.5)}
    assert store.count(PEOPLE, excluding=[*left, left[0]]) == 4
    assert store.count(PEOPLE, {"even": True}, excluding=left) == 2
    some = KeyRange(keys=tuple(store.cursor_of({"_id": one}) for one in (5, "none", "c", "b")))
    for limit in (1, 2, 10):
        assert every_id(store, some, limit=limit) == [5, "c", "b"]
    assert every_id(store, some, where={"even": True}, limit=1) == [5, "c"]


def test_a_page_goes_on_where_all_its_documents_are_left_out(store: MongoStore) -> None:
    put(store, *({"_id": f"u{n}"} for n in range(9)))
    left = [store.cursor_of({"_id": f"u{n}"}) for n in range(8)]
    page = store.read(PEOPLE, where=None, within=WHOLE, after=None, limit=2, excluding=left)
    assert ([one["_id"] for one in page.records], page.last) == (["u8"], True)


def test_a_page_says_how_many_bytes_its_documents_have(store: MongoStore) -> None:
    assert store.width(PEOPLE) is None
    put(store, {"_id": "a", "text": "x" * 1000}, {"_id": "b", "text": "x" * 3000})
    page = store.read(PEOPLE, where=None, within=WHOLE, after=None, limit=5)
    assert page.size == sum(len(codec.encode(one)) for one in page.records)
    assert store.width(PEOPLE) == page.size // 2


def skewed(store: MongoStore, count: int) -> None:
    """Put documents of which nearly all lie in a small part of the space of keys."""
    put(store, *({"_id": f"m{n:06}" if n % 50 else f"{chr(97 + n // 50 % 26)}{n:06}"} for n in range(count)))


@pytest.mark.parametrize("samples", [True, False])
def test_a_large_collection_is_cut_in_balance(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch, samples: bool
) -> None:
    monkeypatch.setattr(planning, "WALKED", 1)
    samples = samples and store.capabilities.samples
    store._connection._capabilities = replace(store.capabilities, samples=samples)
    drawn: list[str] = []
    real = planning.sample
    monkeypatch.setattr(planning, "sample", lambda *given: drawn.append("") or real(*given))  # type: ignore[func-returns-value]
    skewed(store, 6000)
    ranges = store.plan_ranges(PEOPLE, where=None, shards=4, least=100)
    assert bool(drawn) is samples
    sizes = [len(every_id(store, within, limit=3000)) for within in ranges]
    assert sum(sizes) == 6000
    assert len(sizes) == 4
    assert all(abs(size - 1500) <= 300 for size in sizes)
    assert [one.estimate for one in ranges] == [1500] * 4
    assert (ranges[0].lower, ranges[-1].upper) == (None, None)
    assert [one.upper for one in ranges[:-1]] == [one.lower for one in ranges[1:]]


def test_few_documents_are_one_range_that_says_how_many(store: MongoStore) -> None:
    put(store, *({"_id": n} for n in range(10)))
    assert store.plan_ranges(PEOPLE, where=None, shards=4, least=100) == [KeyRange(estimate=10)]


def test_a_sample_that_draws_a_document_twice_cuts_no_empty_range(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "WALKED", 0)
    put(store, *({"_id": f"u{n}"} for n in range(10)))
    store._connection._capabilities = replace(store.capabilities, samples=True)
    monkeypatch.setattr(planning, "sample", lambda *given: ['"u3"'] * 6 + ['"u7"', '"u9"'])
    ranges = store.plan_ranges(PEOPLE, where=None, shards=4, least=1)
    assert [(one.lower, one.upper) for one in ranges] == [(None, '"u3"'), ('"u3"', None)]
    assert sum(one.estimate or 0 for one in ranges) == 10


def test_a_server_that_draws_no_samples_is_found_by_asking_it(store: MongoStore, monkeypatch: Any) -> None:
    from pymongo.collection import Collection as Driver
    from pymongo.errors import OperationFailure

    from lockstep.stores.mongo import capabilities

    def refuse(self: Any, stages: Any, **more: Any) -> Any:
        raise OperationFailure("Unrecognized pipeline stage name: '$sample'", 40324)

    assert capabilities._samples(store._connection.db) == store.capabilities.samples
    monkeypatch.setattr(Driver, "aggregate", refuse)
    assert capabilities._samples(store._connection.db) is False


def test_the_fingerprint_of_keys_alone_agrees_with_the_whole(store: MongoStore) -> None:
    assert not store.fingerprint(PEOPLE, keys_only=True).present
    put(store, *({"_id": n, "name": f"n{n}", "tags": [n]} for n in range(50)))
    keys = store.fingerprint(PEOPLE, keys_only=True)
    assert keys == Fingerprint(present=True, count=50, keys=store.fingerprint(PEOPLE).keys)
    store.handle(PEOPLE).update_one({"_id": 3}, {"$set": {"name": "other"}})
    assert store.fingerprint(PEOPLE, keys_only=True) == keys
    store.handle(PEOPLE).delete_one({"_id": 3})
    assert store.fingerprint(PEOPLE, keys_only=True).keys != keys.keys
