"""The document store writes each change once, and only over the record that it was computed from."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import bson
import pymongo
import pytest
from bson import Binary, Decimal128, Int64, ObjectId
from pymongo.errors import BulkWriteError

from lockstep.domain.errors import DataError, Unavailable, Unsupported
from lockstep.domain.exchange import Applied
from lockstep.domain.progress import Change, KeyRange
from lockstep.domain.resources import Collection, Mongo
from lockstep.stores.mongo import MongoStore, applying, codec, writing
from lockstep.stores.mongo.conditions import still

DATABASE = Mongo("campus_documents")
WORK = Collection(DATABASE, "submissions")
NOON = datetime(2024, 2, 29, 12, 0, 0, 123000, tzinfo=timezone.utc)


@pytest.fixture
def store(servers: Any) -> Iterator[MongoStore]:
    """Return a store over a database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    made = MongoStore(DATABASE, servers.mongo_uri, name)
    yield made
    made._connection.client.drop_database(name)
    made.close()


def submission(n: int) -> dict[str, Any]:
    """Return a document of the shapes that Campus has."""
    return {
        "_id": f"uid-submission-{n:04}",
        "created_at": NOON,
        "course_id": None,
        "score": n * 0.5,
        "tries": n,
        "late": n % 2 == 0,
        "responses": [
            {"question_id": "q1", "response_text": "forty-two", "created_at": NOON},
            {"question_id": "q2", "response_text": None},
        ],
        "feedback": [],
        "meta": {"b": 1, "a": {"deep": [1, [2, "x"]]}},
    }


def put(store: MongoStore, *documents: dict[str, Any]) -> None:
    store.handle(WORK).insert_many([dict(document) for document in documents])


def there(store: MongoStore, *ids: Any) -> list[Any]:
    found = store.fetch(WORK, ids)
    return [found.get(store.key_text(one)) for one in ids]


def change(store: MongoStore, before: Any, after: Any) -> Change:
    return Change(key=store.key_text((after or before)["_id"]), before=before, after=after)


def read_back(store: MongoStore) -> list[dict[str, Any]]:
    return list(store.read(WORK, where=None, within=KeyRange(), after=None, limit=1000).records)


def some_changes(store: MongoStore) -> list[Change]:
    """Return a replacement of each kind, an insert and a delete, over documents that were put."""
    put(store, *(submission(n) for n in range(5)))
    read = read_back(store)
    reordered = {"_id": read[1]["_id"], "z": 1, **{k: v for k, v in reversed(read[1].items()) if k != "_id"}}
    fewer = {k: v for k, v in read[2].items() if k not in ("meta", "course_id")}
    stamped = {**read[0], "responses": [{**one, "created_at": NOON} for one in read[0]["responses"]]}
    return [
        change(store, read[0], stamped),
        change(store, read[1], reordered),
        change(store, read[2], fewer),
        change(store, read[3], None),
        change(store, None, {**submission(9), "new": [1, {"k": "v"}]}),
    ]


def swapped(changes: list[Change]) -> list[Change]:
    return [replace(one, before=one.after, after=one.before) for one in reversed(changes)]


def test_changes_are_written_with_the_field_order_of_the_after_image(store: MongoStore) -> None:
    changes = some_changes(store)
    assert store.apply(WORK, changes) == Applied(written=5)
    for one in changes:
        now = there(store, (one.after or one.before)["_id"])[0]
        assert store.same(now, one.after)
        if one.after is not None:
            assert list(now) == list(one.after)


def test_written_twice_they_are_written_once(store: MongoStore) -> None:
    changes = some_changes(store)
    store.apply(WORK, changes)
    held = store.fingerprint(WORK)
    assert store.apply(WORK, changes) == Applied(already=5)
    assert store.fingerprint(WORK) == held


@pytest.mark.parametrize("written", [1, 2, 3, 4])
def test_a_batch_cut_off_anywhere_is_finished_by_its_replay(store: MongoStore, written: int) -> None:
    changes = some_changes(store)
    store.apply(WORK, changes[:written])
    assert store.apply(WORK, changes) == Applied(written=5 - written, already=written)
    assert all(store.same(there(store, (c.after or c.before)["_id"])[0], c.after) for c in changes)


def test_a_batch_taken_back_leaves_what_was_there(store: MongoStore) -> None:
    changes = some_changes(store)
    held = store.fingerprint(WORK)
    store.apply(WORK, changes)
    assert store.fingerprint(WORK).content != held.content
    assert store.apply(WORK, swapped(changes)) == Applied(written=5)
    assert store.fingerprint(WORK) == held
    assert store.apply(WORK, swapped(changes)) == Applied(already=5)


@pytest.mark.parametrize(
    "meddle",
    [
        {"$set": {"tries": 99}},
        {"$set": {"responses": []}},
        {"$set": {"meta.a.deep": [1, [3, "x"]]}},
        {"$unset": {"course_id": ""}},
        {"$set": {"course_id": "c1"}},
        {"$set": {"late": False}},
        {"$set": {"created_at": datetime(2024, 3, 1, tzinfo=timezone.utc)}},
        {"$set": {"new": "somebody else's"}},
    ],
    ids=lambda meddle: str(next(iter(meddle.values()))),
)
def test_a_record_that_somebody_else_changed_is_left_and_named(
    store: MongoStore, meddle: dict[str, Any]
) -> None:
    put(store, submission(0), submission(2))
    first, second = read_back(store)
    store.handle(WORK).update_one({"_id": first["_id"]}, meddle)
    theirs = there(store, first["_id"])[0]
    applied = store.apply(
        WORK, [change(store, first, {**first, "new": 1}), change(store, second, {**second, "new": 1})]
    )
    assert applied == Applied(written=1, conflicts=(store.key_text(first["_id"]),))
    assert store.same(there(store, first["_id"])[0], theirs)


def test_a_record_that_somebody_else_deleted_or_inserted_is_a_conflict(store: MongoStore) -> None:
    put(store, submission(0), submission(1), submission(2))
    gone, kept, taken = read_back(store)
    store.handle(WORK).delete_one({"_id": gone["_id"]})
    changes = [
        change(store, gone, {**gone, "new": 1}),
        change(store, {**kept, "tries": 77}, None),
        change(store, None, {"_id": taken["_id"], "mine": True}),
    ]
    assert store.apply(WORK, changes).conflicts == tuple(one.key for one in changes)
    assert there(store, gone["_id"], kept["_id"], taken["_id"]) == [None, kept, taken]


def test_a_delete_of_what_is_gone_and_an_insert_of_what_is_there_are_done_already(store: MongoStore) -> None:
    put(store, submission(1))
    one = read_back(store)[0]
    changes = [change(store, submission(5), None), change(store, None, one)]
    assert store.apply(WORK, changes) == Applied(already=2)


def test_values_that_the_server_cannot_compare_are_compared_here(store: MongoStore) -> None:
    oid = ObjectId()
    put(store, {"_id": "u1", "owner": oid, "in": {"owner": oid}, "list": [oid]}, {"_id": "u2", "owner": oid})
    first, second = read_back(store)
    store.handle(WORK).update_one({"_id": "u2"}, {"$set": {"owner": ObjectId()}})
    changes = [change(store, one, {**one, "new": 1}) for one in (first, second)]
    assert store.apply(WORK, changes) == Applied(written=1, conflicts=('"u2"',))
    assert store.apply(WORK, changes[:1]) == Applied(already=1)
    assert store.apply(WORK, swapped(changes[:1])) == Applied(written=1)
    assert store.same(there(store, "u1")[0], first)
    assert store.apply(WORK, [change(store, first, None)]) == Applied(written=1)


def test_nulls_and_missing_fields_are_not_the_same(store: MongoStore) -> None:
    put(store, {"_id": "null", "f": None}, {"_id": "missing"})
    changes = [
        change(store, {"_id": "null"}, {"_id": "null", "n": 1}),
        change(store, {"_id": "missing", "f": None}, {"_id": "missing", "n": 1}),
    ]
    assert set(store.apply(WORK, changes).conflicts) <= {'"null"', '"missing"'}
    right = [
        change(store, {"_id": "null", "f": None}, {"_id": "null", "n": 1}),
        change(store, {"_id": "missing"}, {"_id": "missing", "n": 1}),
    ]
    store.handle(WORK).replace_one({"_id": "null"}, {"_id": "null", "f": None})
    store.handle(WORK).replace_one({"_id": "missing"}, {"_id": "missing"})
    assert store.apply(WORK, right) == Applied(written=2)


def test_ids_of_several_types_are_written_to(store: MongoStore) -> None:
    ids: list[Any] = ["a", 7, 2.5, ObjectId(), NOON]
    changes = [change(store, None, {"_id": one, "n": 1}) for one in ids]
    assert store.apply(WORK, changes) == Applied(written=5)
    more = [change(store, {"_id": one, "n": 1}, {"_id": one, "n": 2}) for one in ids]
    assert store.apply(WORK, more) == Applied(written=5)
    assert store.apply(WORK, more) == Applied(already=5)


def test_a_duplicate_in_another_unique_index_is_refused_and_the_others_are_written(store: MongoStore) -> None:
    put(store, {"_id": "a", "email": "x"}, {"_id": "b", "email": "y"}, {"_id": "d", "email": "z"})
    store.create_index(WORK, [("email", 1)], "email_1", {"unique": True})
    changes = [
        change(store, None, {"_id": "c", "email": "x"}),
        change(store, {"_id": "b", "email": "y"}, {"_id": "b", "email": "x"}),
        change(store, {"_id": "d", "email": "z"}, {"_id": "d", "email": "w"}),
    ]
    for applied in (store.apply(WORK, changes), store.apply(WORK, changes)):
        assert (applied.written + applied.already, applied.conflicts) == (1, ())
        assert [(one.key, one.shown) for one in applied.refused] == [('"c"', "'c'"), ('"b"', "'b'")]
        assert all("same value in a unique index" in one.error for one in applied.refused)
    assert there(store, "b", "c", "d") == [{"_id": "b", "email": "y"}, None, {"_id": "d", "email": "w"}]
    # Taken back whole, a refused change has nothing to take back.
    assert store.apply(WORK, swapped(changes)) == Applied(written=1, already=2)
    assert there(store, "b", "c", "d") == [{"_id": "b", "email": "y"}, None, {"_id": "d", "email": "z"}]


def test_an_update_that_meets_a_duplicate_is_refused_and_the_others_are_made(store: MongoStore) -> None:
    put(
        store,
        {"_id": "a", "email": "x"},
        {"_id": "b", "email": "y", "other": [1]},
        {"_id": "c", "email": "z"},
    )
    store.create_index(WORK, [("email", 1)], "email_1", {"unique": True})
    befores = [one for one in read_back(store) if one["_id"] != "a"]
    applied = store.update(WORK, {"$set": {"email": "x"}}, befores)
    assert (applied.written, {one.key for one in applied.refused}) == (0, {'"b"', '"c"'})
    assert [one["email"] for one in read_back(store)] == ["x", "y", "z"]


def test_a_document_that_is_too_large_is_refused_and_the_others_are_written(store: MongoStore) -> None:
    put(store, {"_id": "a"}, {"_id": "b"})
    large = {"_id": "b", "text": "x" * (17 * 1024 * 1024)}
    applied = store.apply(
        WORK, [change(store, {"_id": "a"}, {"_id": "a", "n": 1}), change(store, {"_id": "b"}, large)]
    )
    assert applied.written == 1
    assert [(one.key, one.error[:11]) for one in applied.refused] == [('"b"', "it would be")]
    assert there(store, "a", "b") == [{"_id": "a", "n": 1}, {"_id": "b"}]
    with pytest.raises(DataError, match=r'document "b" would be'):
        store.change({"_id": "b"}, large)


def test_a_change_keeps_both_images_and_is_none_where_nothing_changes(store: MongoStore) -> None:
    put(store, submission(1))
    read = read_back(store)[0]
    copied = copy.deepcopy(read)
    assert type(copied) is dict
    assert copied == read
    assert store.change(read, copied) is None
    copied["meta"]["a"]["deep"].append(7)
    assert read["meta"]["a"]["deep"] == [1, [2, "x"]]
    made = store.change(read, copied)
    assert made is not None
    assert made.key == store.cursor_of(read)
    assert codec.encode(made.after) == codec.encode_anew(copied)
    assert codec.encode(made.before) == codec.encode_anew(submission(1))
    new = store.change(None, {"n": 1, "_id": "new"})
    assert new is not None
    assert (new.before, list(new.after)) == (None, ["n", "_id"])
    assert store.apply(WORK, [made, new]) == Applied(written=2)
    assert list(there(store, "new")[0]) == ["_id", "n"]


def test_a_document_of_an_old_form_of_bson_is_kept_and_not_carried(store: MongoStore) -> None:
    # {_id: "s", v: symbol "x"}: no driver writes symbols any more, and they are read as strings.
    raw = b"\x19\0\0\0\x02_id\0\x02\0\0\0s\0\x0ev\0\x02\0\0\0x\0\0"
    held = codec.keep(raw)
    assert store.change(held, copy.deepcopy(held)) is None
    with pytest.raises(DataError, match=r'document "s" holds a field twice, or .* no longer in use'):
        store.change(held, {**held, "n": 1})
    packed = store.pack([Change(key='"s"', before=held, after=None)])
    assert codec.encode(store.unpack(packed)[0].before) == raw


def test_two_images_too_large_for_one_command_are_written_all_the_same(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "LARGEST_PAIR", 200)
    put(store, {"_id": "a", "n": 1, "text": "x" * 300}, {"_id": "b", "n": 1, "text": "x" * 300})
    first, second = read_back(store)
    store.handle(WORK).update_one({"_id": "b"}, {"$set": {"text": "y" * 300}})
    changes = [change(store, one, {**one, "text": "z" * 300}) for one in (first, second)]
    assert store.apply(WORK, changes) == Applied(written=1, conflicts=('"b"',))


def test_an_id_cannot_change(store: MongoStore) -> None:
    with pytest.raises(DataError, match="an _id cannot change"):
        store.apply(WORK, [Change(key='"a"', before={"_id": "a"}, after={"_id": "b"})])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("decimal128", Decimal128("1.50")),
        ("int64", Int64(5)),
        ("binary subtype", Binary(b"0123456789abcdef", 4)),
        ("binary subtype", uuid.UUID(int=5)),
        ("not a number", float("nan")),
    ],
)
def test_a_value_that_the_server_would_not_keep_is_refused_with_its_field(
    store: MongoStore, kind: str, value: Any
) -> None:
    after = {"_id": "a", "prices": [{"net": value}]}
    if kind not in store.capabilities.loses:
        assert store.apply(WORK, [change(store, None, after)]) == Applied(written=1)
        return
    with pytest.raises(Unsupported, match=r"document \"a\", field 'prices.0.net'") as caught:
        store.apply(WORK, [change(store, None, after)])
    assert caught.value.fields["kind"] == kind
    assert store.count(WORK) == 0


def test_a_server_that_compares_documents_is_asked_to(store: MongoStore) -> None:
    able = replace(store.capabilities, compares_documents=True, measures_documents=True)
    before = {"_id": "a", "n": 1}
    raw = codec.encode(before)
    condition = still(able, before, raw, {"_id": "a", "n": 2})
    assert condition is not None
    assert condition["_id"] == {"$eq": "a"}
    whole, size = condition["$expr"]["$and"]
    assert whole["$eq"][0] == "$$ROOT"
    assert whole["$eq"][1]["$literal"].raw == raw
    assert size == {"$eq": [{"$bsonSize": "$$ROOT"}, len(raw)]}
    assert bson.decode(bson.encode(condition))["$expr"]["$and"][0]["$eq"][1]["$literal"] == before
    plain = still(replace(able, measures_documents=False), before, raw, None)
    assert plain is not None
    assert plain["$expr"]["$eq"][0] == "$$ROOT"


def test_an_election_in_the_middle_of_a_batch_is_worth_a_retry(store: MongoStore) -> None:
    details = {"writeErrors": [{"index": 0, "code": 10107, "errmsg": "not primary"}], "nMatched": 0}
    with pytest.raises(Unavailable):
        writing.judge(store._connection, WORK, BulkWriteError(details))
    unmet = {"writeErrors": [], "writeConcernErrors": [{"code": 64}]}
    with pytest.raises(Unavailable, match="write concern"):
        writing.judge(store._connection, WORK, BulkWriteError(unmet))


def test_what_a_validator_rejects_is_told_from_what_was_written(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, {"_id": "a", "n": 1}, {"_id": "b", "n": 1}, {"_id": "c", "n": 1})
    changes = [change(store, one, {**one, "n": 2}) for one in read_back(store)]
    real = pymongo.collection.Collection.bulk_write

    def rejecting(self: Any, writes: list[Any], **more: Any) -> Any:
        """Answer as MongoDB does where the validator rejects one of several; the embedded server keeps none."""
        position = next((at for at, one in enumerate(writes) if one._filter["_id"] == "b"), None)
        if position is None:
            return real(self, writes, **more)
        done = real(self, writes[:position] + writes[position + 1 :], **more).matched_count
        refusal = {"index": position, "code": 121, "errmsg": "Document failed validation"}
        raise BulkWriteError({"writeErrors": [refusal], "writeConcernErrors": [], "nMatched": done})

    monkeypatch.setattr(pymongo.collection.Collection, "bulk_write", rejecting)
    applied = store.apply(WORK, changes)
    assert (applied.written, applied.already, applied.conflicts) == (2, 0, ())
    assert [one.key for one in applied.refused] == ['"b"']
    assert "failed validation (code 121)" in applied.refused[0].error
    assert [one["n"] for one in there(store, "a", "b", "c")] == [2, 1, 2]


def test_an_update_touches_each_document_that_is_as_it_was_once(store: MongoStore) -> None:
    put(store, *(submission(n) for n in range(4)))
    befores = read_back(store)
    store.handle(WORK).update_one({"_id": befores[3]["_id"]}, {"$set": {"late": "changed"}})
    changed = (store.key_text(befores[3]["_id"]),)
    change = {"$inc": {"tries": 10}, "$set": {"seen": True}}
    assert store.update(WORK, change, befores) == Applied(written=3, conflicts=changed)
    assert [document["tries"] for document in read_back(store)] == [10, 11, 12, 3]
    assert store.update(WORK, change, befores) == Applied(already=3, conflicts=changed)
    assert [document["tries"] for document in read_back(store)] == [10, 11, 12, 3]


def test_what_the_server_s_clock_puts_in_tells_nobody_else_s_change(store: MongoStore) -> None:
    put(store, *(submission(n) for n in range(3)))
    befores = read_back(store)
    change = {"$inc": {"tries": 10}, "$currentDate": {"at.last": True}}
    assert store.update(WORK, change, befores) == Applied(written=3)
    store.handle(WORK).update_one({"_id": befores[2]["_id"]}, {"$set": {"late": "changed"}})
    assert store.update(WORK, change, befores) == Applied(
        already=2, conflicts=(store.key_text(befores[2]["_id"]),)
    )
    assert store.foresee(WORK, change, befores)[store.key_text(befores[0]["_id"])] == read_back(store)[0]


def test_foreseeing_leaves_nothing_behind(store: MongoStore) -> None:
    put(store, {"_id": "a", "n": 1}, {"_id": "b", "n": "text"})
    before = store.handle(WORK).database.list_collection_names()
    foreseen = store.foresee(WORK, {"$inc": {"n": 1}}, read_back(store))
    assert foreseen == {'"a"': {"_id": "a", "n": 2}, '"b"': {"_id": "b", "n": "text"}}
    assert sorted(store.handle(WORK).database.list_collection_names()) == sorted(before)
    assert [document["n"] for document in read_back(store)] == [1, "text"]


def test_an_update_of_documents_that_the_server_cannot_compare_is_done_once(store: MongoStore) -> None:
    put(store, {"_id": "a", "n": 1, "owner": ObjectId()}, {"_id": "b", "n": 1})
    befores = read_back(store)
    assert store.update(WORK, {"$inc": {"n": 1}}, befores).written == 2
    assert store.update(WORK, {"$inc": {"n": 1}}, befores).written == 0
    assert [document["n"] for document in read_back(store)] == [2, 2]


def test_an_update_of_nothing_is_nothing(store: MongoStore) -> None:
    assert store.update(WORK, {"$set": {"n": 1}}, []) == Applied()
    assert store.apply(WORK, []) == Applied()


def test_changes_are_packed_and_unpacked_as_they_were(store: MongoStore) -> None:
    changes = [
        Change(key='"a"', before=None, after={"_id": "a", "z": Int64(1), "b": {"y": None, "x": [1.0]}}),
        Change(key='"b"', before={"_id": "b", "d": Decimal128("1.50"), "at": NOON}, after=None),
        Change(key="former", before={"index": {"key": {"a": 1}}}, after=None),
    ]
    packed = store.pack(changes)
    assert packed == store.pack(changes)
    again = store.unpack(packed)
    assert [one.key for one in again] == [one.key for one in changes]
    for one, other in zip(changes, again, strict=True):
        assert store.same(one.before, other.before)
        assert store.same(one.after, other.after)
    assert store.unpack(store.pack([])) == []


def test_what_is_no_batch_is_refused(store: MongoStore) -> None:
    with pytest.raises(DataError, match="no batch"):
        store.unpack(b"not zstandard")


def test_packing_compresses(store: MongoStore) -> None:
    changes = [Change(key=str(n), before=submission(n), after=submission(n)) for n in range(200)]
    assert len(store.pack(changes)) < 20_000
