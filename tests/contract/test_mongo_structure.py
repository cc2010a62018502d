"""The document store makes, finds, parks and dumps collections."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId, json_util
from bson.binary import Binary
from pymongo.errors import OperationFailure

from lockstep.domain.errors import DataError, Refused
from lockstep.domain.exchange import BackupPart
from lockstep.domain.resources import Collection, Everything, Mongo
from lockstep.stores.mongo import MongoStore, capabilities, codec, parking
from lockstep.stores.mongo.backup import metadata

DATABASE = Mongo("campus_documents")
TEAMS = Collection(DATABASE, "teams")
PARKED = "_lockstep_parked_run_1_teams"


class Killed(BaseException):
    """The worker ends here."""


@pytest.fixture
def store(servers: Any) -> Iterator[MongoStore]:
    """Return a store over a database of its own."""
    name = f"test_{uuid.uuid4().hex}"
    made = MongoStore(DATABASE, servers.mongo_uri, name)
    yield made
    made._connection.client.drop_database(name)
    made.close()


def names(store: MongoStore) -> set[str]:
    return set(store._connection.db.list_collection_names())


def fill(store: MongoStore, documents: int = 5) -> None:
    store.create_collection(TEAMS, None)
    store.handle(TEAMS).insert_many(
        [{"_id": f"t{n:04}", "n": n, "list": [n, {"z": 1, "a": None}]} for n in range(documents)]
    )
    store.create_index(TEAMS, [("n", 1)], "n_1", {"unique": True})


def test_a_collection_is_created_once(store: MongoStore) -> None:
    assert store.create_collection(TEAMS, {"n": {"$exists": True}})
    assert not store.create_collection(TEAMS, None)
    assert store.exists(TEAMS)


def test_probing_leaves_nothing_behind(store: MongoStore) -> None:
    assert store.capabilities
    assert names(store) == set()


def test_only_an_empty_collection_is_dropped(store: MongoStore) -> None:
    store.create_collection(TEAMS, None)
    store.handle(TEAMS).insert_one({"_id": "a"})
    with pytest.raises(DataError, match="is not empty"):
        store.drop(TEAMS)
    store.handle(TEAMS).delete_one({"_id": "a"})
    store.drop(TEAMS)
    assert not store.exists(TEAMS)
    store.drop(TEAMS)
    assert not store.exists(TEAMS)


def test_an_index_is_found_by_its_keys_whatever_its_name(store: MongoStore) -> None:
    fill(store)
    keys = [("name", 1), ("n", -1)]
    assert store.index_on(TEAMS, keys) is None
    store.create_index(TEAMS, keys, "chosen", {"unique": True})
    store.create_index(TEAMS, keys, "chosen", {"unique": True})
    found = store.index_on(TEAMS, keys)
    assert found is not None
    assert found["unique"] is True
    assert list(found["key"]) == ["name", "n"]
    assert store.index_on(TEAMS, [("n", 1)]) is not None
    assert store.index_on(TEAMS, [("name", 1)]) is None
    store.drop_index(TEAMS, keys)
    assert store.index_on(TEAMS, keys) is None
    store.drop_index(TEAMS, keys)
    assert store.index_on(TEAMS, [("n", 1)]) is not None


def test_an_index_dropped_and_made_again_from_its_definition_has_the_same_shape(store: MongoStore) -> None:
    fill(store)
    held = store.fingerprint(TEAMS)
    former = store.index_on(TEAMS, [("n", 1)])
    assert former is not None
    store.drop_index(TEAMS, [("n", 1)])
    assert store.fingerprint(TEAMS).shape != held.shape
    options = {name: value for name, value in former.items() if name not in ("v", "key", "name", "ns")}
    store.create_index(TEAMS, [("n", 1)], former["name"], options)
    assert store.fingerprint(TEAMS) == held


def test_an_index_definition_can_be_journaled(store: MongoStore) -> None:
    from lockstep.domain.progress import Change

    fill(store)
    former = {"index": store.index_on(TEAMS, [("n", 1)])}
    again = store.unpack(store.pack([Change(key="former", before=former, after=None)]))[0].before
    assert again == former
    assert list(again["index"]["key"].items()) == [("n", 1)]


def test_a_view_has_no_indexes(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymongo.collection import Collection as Driver

    fill(store)
    assert store.capabilities

    def refuse(*_: Any, **__: Any) -> None:
        raise OperationFailure("Namespace is a view, not a collection", 166)

    monkeypatch.setattr(Driver, "list_indexes", refuse)
    assert store.index_on(TEAMS, [("n", 1)]) is None
    assert store.fingerprint(TEAMS).count == 5


def test_a_unique_index_over_equal_values_names_collection_and_index(store: MongoStore) -> None:
    store.handle(TEAMS).insert_many([{"_id": 1, "n": 1}, {"_id": 2, "n": 1}])
    with pytest.raises(DataError, match="teams"):
        store.create_index(TEAMS, [("n", 1)], "n_1", {"unique": True})


def test_index_directions_and_names_count_where_the_server_keeps_them(store: MongoStore) -> None:
    fill(store)
    able = replace(store.capabilities, keeps_index_directions=True, keeps_index_names=True)
    loose = replace(able, keeps_index_directions=False, keeps_index_names=False)
    store._connection._capabilities = able
    assert store.index_on(TEAMS, [("n", 1)]) is not None
    assert store.index_on(TEAMS, [("n", -1)]) is None
    named = store.fingerprint(TEAMS).shape
    store._connection._capabilities = loose
    assert store.index_on(TEAMS, [("n", -1)]) is not None
    assert store.fingerprint(TEAMS).shape != named


def test_validators_are_kept_where_the_server_keeps_them(store: MongoStore) -> None:
    store.create_collection(TEAMS, None)
    rules = {"n": {"$exists": True}}
    if not store.keeps_validators():
        assert store.validator(TEAMS) == {}
        return
    held = store.fingerprint(TEAMS)
    store.set_validator(TEAMS, rules)
    assert store.validator(TEAMS) == rules
    assert store.fingerprint(TEAMS).shape != held.shape
    store.set_validator(TEAMS, {})
    assert store.validator(TEAMS) == {}
    assert store.fingerprint(TEAMS) == held


class _Answers:
    """A database that answers an insert as it was told to, and nothing else."""

    def __init__(self, answer: Exception | None) -> None:
        self.answer = answer

    def __getitem__(self, name: str) -> _Answers:
        return self

    def create_collection(self, name: str, **_: Any) -> _Answers:
        return self

    def drop_collection(self, name: str) -> None:
        assert name.startswith("_lockstep_probe_")

    def insert_one(self, document: Any) -> _Answers:
        if self.answer is not None:
            raise self.answer
        return self


def test_a_server_that_refuses_the_violating_document_keeps_validators() -> None:
    refusal = OperationFailure("Document failed validation", 121)
    assert capabilities._keeps_validators(_Answers(refusal))  # type: ignore[arg-type]
    assert not capabilities._keeps_validators(_Answers(None))  # type: ignore[arg-type]


def test_a_lost_connection_is_no_answer_to_a_probe() -> None:
    from pymongo.errors import AutoReconnect

    with pytest.raises(AutoReconnect):
        capabilities._keeps_validators(_Answers(AutoReconnect("reset")))  # type: ignore[arg-type]


def test_a_collection_is_parked_with_documents_and_indexes_and_comes_back(store: MongoStore) -> None:
    fill(store, 2500)
    held = store.fingerprint(TEAMS)
    store.park(TEAMS, PARKED)
    assert not store.exists(TEAMS)
    assert PARKED in names(store)
    store.park(TEAMS, PARKED)
    store.unpark(TEAMS, PARKED)
    assert store.fingerprint(TEAMS) == held
    assert PARKED not in names(store)
    store.unpark(TEAMS, PARKED)
    assert store.fingerprint(TEAMS) == held


def test_parking_replaces_nothing(store: MongoStore) -> None:
    fill(store)
    held = store.fingerprint(TEAMS)
    store._connection.collection(PARKED).insert_one({"_id": "theirs"})
    with pytest.raises(Refused, match="both there"):
        store.park(TEAMS, PARKED)
    with pytest.raises(Refused, match="both there"):
        store.unpark(TEAMS, PARKED)
    assert store.fingerprint(TEAMS) == held
    assert store._connection.collection(PARKED).find_one({}) == {"_id": "theirs"}


def test_parking_what_is_not_there_or_under_an_open_name_is_refused(store: MongoStore) -> None:
    with pytest.raises(DataError, match="neither"):
        store.park(TEAMS, PARKED)
    with pytest.raises(Refused, match="must start with '_lockstep'"):
        store.park(TEAMS, "teams_old")


@pytest.mark.parametrize("killed_at", ["insert_many", "create_index", "digests", "drop", "delete_one"])
def test_parking_by_copy_may_be_killed_anywhere(
    store: MongoStore, killed_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.collection import Collection as Driver

    fill(store, 1500)
    held = store.fingerprint(TEAMS)
    store._connection._capabilities = replace(store.capabilities, renames=False)

    def kill(*_: Any, **__: Any) -> None:
        raise Killed

    home: Any = parking if killed_at == "digests" else Driver
    for go in (store.park, store.unpark):
        with monkeypatch.context() as patched:
            patched.setattr(home, killed_at, kill)
            with pytest.raises(Killed):
                go(TEAMS, PARKED)
        go(TEAMS, PARKED)
        go(TEAMS, PARKED)
    assert store.fingerprint(TEAMS) == held
    assert store._connection.collection(parking.MOVES).find_one({}) is None


def test_parking_by_copy_drops_nothing_that_was_not_copied(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    store._connection._capabilities = replace(store.capabilities, renames=False)
    with monkeypatch.context() as patched:
        patched.setattr(parking, "digests", lambda connection, name: name)
        with pytest.raises(DataError, match="not the same"):
            store.park(TEAMS, PARKED)
    assert store.count(TEAMS) == 5
    store.park(TEAMS, PARKED)
    assert not store.exists(TEAMS)


def test_a_server_that_renames_is_told_to(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymongo.collection import Collection as Driver

    fill(store)
    store._connection._capabilities = replace(store.capabilities, renames=True)
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(Driver, "rename", lambda self, new: asked.append((self.name, new)))
    store.park(TEAMS, PARKED)
    assert asked == [("teams", PARKED)]


def contents(parts: list[BackupPart]) -> dict[str, bytes]:
    return {part.name: b"".join(part.chunks()) for part in parts}


def test_a_backup_is_laid_out_and_read_as_mongodump_s(store: MongoStore) -> None:
    fill(store, 2500)
    store._connection.collection("other").insert_one({"_id": 1})
    db = store._connection.dbname
    parts = list(store.backup([TEAMS]))
    assert [part.name for part in parts] == [f"{db}/teams.bson", f"{db}/teams.metadata.json"]
    assert parts[0].count() is None
    held = contents(parts)
    assert parts[0].count() == 2500
    documents = list(bson.decode_file_iter(io.BytesIO(held[f"{db}/teams.bson"])))
    assert len(documents) == 2500
    assert sorted(document["_id"] for document in documents)[0] == "t0000"
    assert list(documents[0]) == ["_id", "n", "list"]
    told = json.loads(held[f"{db}/teams.metadata.json"])
    assert (told["collectionName"], told["type"]) == ("teams", "collection")
    assert {"_id": {"$numberInt": "1"}} in [index["key"] for index in told["indexes"]]
    assert {"n": {"$numberInt": "1"}} in [index["key"] for index in told["indexes"]]


def test_a_dump_put_back_is_the_same_collection(store: MongoStore) -> None:
    fill(store, 100)
    held = store.fingerprint(TEAMS)
    dumped = contents(list(store.backup([TEAMS])))[f"{store._connection.dbname}/teams.bson"]
    handle = store.handle(TEAMS)
    handle.delete_many({})
    for document in bson.decode_file_iter(io.BytesIO(dumped), codec_options=codec.DECODE):
        handle.insert_one(document)
    assert store.fingerprint(TEAMS) == held


def test_everything_is_every_collection_but_lockstep_s_own(store: MongoStore) -> None:
    fill(store)
    for name in ("b", "_lockstep_parked_x", "lost"):
        store._connection.collection(name).insert_one({"_id": 1})
    db = store._connection.dbname
    found = [part.name for part in store.backup([Everything(DATABASE)])]
    assert found == [
        f"{db}/{name}.{kind}" for name in ("b", "lost", "teams") for kind in ("bson", "metadata.json")
    ]


def test_a_backup_of_what_is_not_there_is_empty(store: MongoStore) -> None:
    assert list(store.backup([TEAMS])) == []
    assert names(store) == set()


def test_a_dump_keeps_options_uuid_and_types() -> None:
    told = metadata(
        {
            "name": "teams",
            "type": "collection",
            "options": {"validator": {"at": {"$gt": datetime(2020, 1, 1, tzinfo=timezone.utc)}}},
            "info": {"uuid": Binary(bytes(range(16)), 4), "readOnly": False},
        },
        [
            {"v": 2, "key": {"_id": 1}, "name": "_id_"},
            {"v": 2, "key": {"n": -1}, "name": "n", "expireAfterSeconds": Int64(5)},
        ],
    )
    assert list(json.loads(told)) == ["options", "indexes", "uuid", "collectionName", "type"]
    again = json_util.loads(told, json_options=json_util.CANONICAL_JSON_OPTIONS)
    assert again["uuid"] == "000102030405060708090a0b0c0d0e0f"
    assert again["options"]["validator"]["at"]["$gt"].year == 2020
    assert again["indexes"][1]["expireAfterSeconds"] == 5
    assert json.loads(told)["indexes"][1]["key"] == {"n": {"$numberInt": "-1"}}


def test_object_ids_in_reading_order_are_dumped(store: MongoStore) -> None:
    store.handle(TEAMS).insert_many([{"_id": ObjectId()} for _ in range(3)])
    parts = list(store.backup([TEAMS]))
    assert len(bson.decode_all(b"".join(parts[0].chunks()))) == 3
