"""A dump is loaded into a scratch database, and only what was written is taken for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bson import Binary, Int64
from kept_backups import FOLDER, keep
from mongo_stores import (
    ALL,
    DATABASE,
    NOTES,
    TEAMS,
    VIEW,
    a_name,
    a_store,
    db,
    fill,
    loaded,
    names,
    teams,
    witness,
)
from pymongo import MongoClient

from lockstep.domain.errors import BackupNotProven, DataError, LockstepError, Refused, Unavailable
from lockstep.domain.exchange import BackupPart
from lockstep.domain.resources import Collection
from lockstep.domain.scratch import SCRATCH
from lockstep.stores.mongo import MongoStore, loading, shapes
from lockstep.stores.mongo.backup import metadata


@pytest.fixture
def store(servers: Any) -> Iterator[MongoStore]:
    with a_store(servers.mongo_uri) as made:
        yield made


def test_a_scratch_space_is_there_once_it_is_opened_and_gone_once_it_is_dropped(store: MongoStore) -> None:
    fill(store)
    held = witness(store)
    name = a_name()
    scratch = store.open_scratch(name)
    assert name in store.scratches()
    assert names(scratch) == set()
    db(scratch)["teams"].insert_one({"_id": "scratch"})
    assert witness(store) == held
    # Opened again it is empty.
    assert not store.open_scratch(name).exists(TEAMS)
    store.drop_scratch(name)
    store.drop_scratch(name)
    assert name not in store.scratches()
    assert witness(store) == held


def test_no_other_name_is_opened_or_dropped(store: MongoStore) -> None:
    fill(store)
    live = store._connection.dbname
    for name in (live, "", "admin", "lockstep", SCRATCH, f"{SCRATCH}A", f"{SCRATCH}a.b"):
        for ask in (store.open_scratch, store.drop_scratch):
            with pytest.raises(Refused, match="no name for a scratch space"):
                ask(name)
    assert store.count(TEAMS) == 20


def test_a_scratch_database_that_is_declared_itself_is_not_touched(store: MongoStore, servers: Any) -> None:
    name = a_name()
    live = MongoStore(DATABASE, servers.mongo_uri, name)
    db(live)["teams"].insert_one({"_id": 1})
    for ask in (live.open_scratch, live.drop_scratch):
        with pytest.raises(Refused, match="a live database's"):
            ask(name)
    assert live.count(TEAMS) == 1
    live.close()


def test_a_role_that_may_make_no_database_is_told_what_to_grant(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.errors import OperationFailure

    def deny(*_: Any, **__: Any) -> None:
        raise OperationFailure("not authorized", 13)

    monkeypatch.setattr(MongoClient, "drop_database", deny)
    with pytest.raises(Refused, match=r"'campus_documents' readWrite and dbAdmin.*by checksum"):
        store.open_scratch(a_name())
    monkeypatch.undo()


@pytest.mark.parametrize("resources", [[TEAMS, NOTES], [ALL]], ids=["named", "everything"])
def test_a_dump_that_is_loaded_has_the_fingerprints_of_the_live_collections(
    store: MongoStore, resources: list[Any]
) -> None:
    fill(store, 2500)
    db(store)["kinds"].insert_one(
        {"_id": 1, "binary": Binary(b"x", 0), "long": Int64(2**40), "nested": {"b": [1, 2.5], "a": None}}
    )
    store.create_collection(Collection(DATABASE, "empty"), None)
    kept = keep(store.backup(resources))
    scratch = loaded(store, kept)
    for resource in resources:
        assert scratch.fingerprint(resource) == store.fingerprint(resource)
    assert scratch.fingerprint(ALL) == store.fingerprint(ALL) or resources != [ALL]
    assert {name: held for name, held in witness(store).items() if name in witness(scratch)} == witness(
        scratch
    )


def test_the_fingerprint_of_everything_tells_every_difference(store: MongoStore) -> None:
    fill(store)
    first = store.fingerprint(ALL)
    assert (first.present, first.count) == (True, 23)
    keys = store.fingerprint(ALL, keys_only=True)
    assert (keys.count, keys.content, keys.shape) == (23, "", "")
    db(store)["teams"].update_one({"_id": "t00001"}, {"$set": {"n": 1000}})
    second = store.fingerprint(ALL)
    assert (second.keys, second.shape) == (first.keys, first.shape)
    assert second.content != first.content
    store.create_index(NOTES, [("at", 1)], "at_1", {})
    assert store.fingerprint(ALL).shape != first.shape
    db(store)["_lockstep_parked_x"].insert_one({"_id": 1})
    assert store.fingerprint(ALL, keys_only=True) == keys
    db(store).drop_collection("notes")
    assert store.fingerprint(ALL).count == 20


def test_documents_arrive_in_batches_that_memory_can_hold(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    db(store)["teams"].insert_many([{"_id": n, "text": "x" * 2000} for n in range(300)])
    kept = keep(store.backup([TEAMS]))
    monkeypatch.setattr(loading, "BYTES", 20_000)
    monkeypatch.setattr(loading, "AT_ONCE", 7)
    sizes: list[int] = []
    real = loading._raws

    def raws(batch: list[bytes], path: str) -> list[Any]:
        sizes.append(sum(map(len, batch)))
        assert len(batch) <= 7
        return real(batch, path)

    monkeypatch.setattr(loading, "_raws", raws)
    scratch = loaded(store, kept)
    assert len(sizes) >= 43
    assert max(sizes) <= 20_000
    assert scratch.fingerprint(TEAMS) == store.fingerprint(TEAMS)


@pytest.mark.parametrize("end", ["teams.bson", "teams.metadata.json"])
@pytest.mark.parametrize("how", ["a value flipped", "a length flipped", "torn", "torn between documents"])
def test_a_file_that_is_not_what_was_written_is_named(store: MongoStore, end: str, how: str) -> None:
    fill(store)
    kept = keep(store.backup([TEAMS]))
    if how == "a value flipped":
        kept.flip(end, at=-4)
    elif how == "a length flipped":
        kept.flip(end, at=1)
    elif how == "torn":
        kept.tear(end, 30)
    else:
        kept.tear(
            end, int.from_bytes(kept.bodies[kept.path(end)][:4], "little") if end.endswith("bson") else 1
        )
    with pytest.raises((BackupNotProven, DataError), match=end) as caught:
        loaded(store, kept)
    assert type(caught.value) is BackupNotProven
    assert caught.value.fields["path"] == f"{FOLDER}/{store._connection.dbname}/{end}"


def test_every_single_bit_of_a_dump_counts(store: MongoStore) -> None:
    db(store)["teams"].insert_many(teams(2))
    kept = keep(store.backup([TEAMS]))
    size = len(kept.bodies[kept.path("teams.bson")])
    for at in range(0, size, 23):
        kept.flip("teams.bson", at)
        with pytest.raises(BackupNotProven, match=r"teams\.bson reads back as"):
            loaded(store, kept)
        kept.flip("teams.bson", at)
    loaded(store, kept)


def test_documents_without_their_metadata_are_no_backup(store: MongoStore) -> None:
    fill(store)
    kept = keep(store.backup([TEAMS]))
    kept.files = [file for file in kept.files if file.path.endswith(".bson")]
    with pytest.raises(BackupNotProven, match=r"teams\.bson and no \.metadata\.json"):
        loaded(store, kept)


def test_what_is_loaded_onto_what_is_there_is_refused_by_name(store: MongoStore) -> None:
    fill(store)
    kept = keep(store.backup([TEAMS]))
    with pytest.raises(DataError, match="teams"):
        store.load(kept.files, kept.read)
    assert store.count(TEAMS) == 20


def test_a_dump_that_names_its_collections_by_files_alone_is_read(store: MongoStore) -> None:
    fill(store)
    kept = keep(store.backup([TEAMS]))
    documents = kept.bodies[kept.path(".bson")]
    older = [
        BackupPart(
            name="x/te%61ms.metadata.json", holds="metadata", chunks=lambda: iter([b'{"indexes": []}'])
        ),
        BackupPart(name="x/te%61ms.bson", holds="documents", chunks=lambda: iter([documents])),
    ]
    scratch = loaded(store, keep(older))
    assert names(scratch) == {"teams"}
    assert scratch.fingerprint(TEAMS).content == store.fingerprint(TEAMS).content


def test_views_are_made_after_what_they_look_at_and_without_indexes(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bson import json_util

    fill(store, 3)
    kept = keep(store.backup([TEAMS]))
    view = metadata({"name": "a_view", **VIEW}, [])
    assert json_util.loads(view)["options"] == VIEW["options"]
    alone = keep(
        [BackupPart(name="x/a_view.metadata.json", holds="metadata", chunks=lambda: iter([view.encode()]))]
    )
    made: list[tuple[str, dict[str, Any]]] = []
    real = shapes.create

    def create(connection: Any, name: str, options: Any) -> None:
        made.append((name, shapes.fixed(options)))
        if name != "a_view":
            real(connection, name, options)

    monkeypatch.setattr(loading, "create", create)
    scratch = store.open_scratch(a_name())
    bodies = {**kept.bodies, **alone.bodies}
    scratch.load([*alone.files, *kept.files], lambda path: iter([bodies[path]]))
    assert made == [("teams", {}), ("a_view", VIEW["options"])]


def test_a_document_that_nobody_takes_is_named_with_its_file(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.collection import Collection as Driver
    from pymongo.errors import BulkWriteError

    fill(store, 3)
    kept = keep(store.backup([TEAMS]))
    for code, kind in ((121, DataError), (189, Unavailable)):

        def refuse(self: Any, documents: Any, code: int = code, **_: Any) -> None:
            if self.name == "teams":
                raise BulkWriteError({"writeErrors": [{"index": 0, "code": code, "errmsg": "no"}]})

        with monkeypatch.context() as patched:
            patched.setattr(Driver, "insert_many", refuse)
            with pytest.raises(LockstepError, match="teams") as caught:
                loaded(store, kept)
        assert type(caught.value) is kind
