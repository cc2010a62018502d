"""A dump is loaded into a scratch database, and the collections made what they are there."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Binary, Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from kept_backups import FOLDER, Kept, keep
from pymongo import MongoClient

from lockstep.domain.errors import (
    BackupNotProven,
    ConflictError,
    DataError,
    LockstepError,
    Refused,
    Unavailable,
)
from lockstep.domain.exchange import Adopted, BackupPart
from lockstep.domain.resources import Collection, Everything, Mongo
from lockstep.domain.scratch import SCRATCH
from lockstep.stores.mongo import MongoStore, adopting, loading, shapes
from lockstep.stores.mongo.backup import metadata

DATABASE = Mongo("campus_documents")
TEAMS = Collection(DATABASE, "teams")
NOTES = Collection(DATABASE, "notes")
ALL = Everything(DATABASE)


@pytest.fixture
def store(servers: Any) -> Iterator[MongoStore]:
    """Return a store over a database of its own; scratch spaces that a test leaves are dropped."""
    name = f"test_{uuid.uuid4().hex}"
    made = MongoStore(DATABASE, servers.mongo_uri, name)
    yield made
    for left in (name, *made.scratches()):
        made._connection.client.drop_database(left)
    made.close()


def a_name() -> str:
    return f"{SCRATCH}{uuid.uuid4().hex[:12]}_campus"


def db(store: MongoStore) -> Any:
    return store._connection.db


def names(store: MongoStore) -> set[str]:
    return {name for name in db(store).list_collection_names() if not name.startswith("_lockstep")}


def teams(count: int) -> list[dict[str, Any]]:
    return [
        {"_id": f"t{n:05}", "n": n, "list": [n, {"z": 1, "a": None}], "text": "é" * (n % 7)}
        for n in range(count)
    ]


def fill(store: MongoStore, count: int = 20) -> None:
    db(store)["teams"].insert_many(teams(count))
    store.create_index(TEAMS, [("n", 1)], "n_1", {"unique": True})
    db(store)["notes"].insert_many(
        [{"_id": ObjectId(), "at": datetime(2026, 1, 1, tzinfo=timezone.utc)} for _ in range(3)]
    )


def witness(store: MongoStore) -> dict[str, Any]:
    """Return all that there is as the plain driver reads it, byte for byte."""
    with MongoClient(store._connection._uri, document_class=RawBSONDocument) as client:
        there: Any = client[store._connection.dbname]
        return {
            name: (
                sorted(bytes(document.raw) for document in there[name].find()),
                sorted(str(sorted(index.items())) for index in db(store)[name].list_indexes()),
            )
            for name in names(store)
        }


def loaded(store: MongoStore, kept: Kept) -> MongoStore:
    scratch = store.open_scratch(a_name())
    scratch.load(kept.files, kept.read)
    return scratch


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


def changed(store: MongoStore) -> None:
    """Change documents in every way that there is."""
    there = db(store)["teams"]
    there.update_one({"_id": "t00003"}, {"$set": {"n": -3}})
    there.replace_one({"_id": "t00004"}, {"list": [], "n": 4})
    there.delete_many({"_id": {"$in": ["t00005", "t00000", "t00019"]}})
    there.insert_many([{"_id": one, "n": 1000 + at} for at, one in enumerate(["a", "t00007x", "zz"])])


def test_a_collection_becomes_what_it_was_and_the_rest_stays(store: MongoStore) -> None:
    fill(store)
    before = witness(store)
    scratch = loaded(store, keep(store.backup([TEAMS])))
    changed(store)
    db(store)["notes"].insert_one({"_id": "since"})
    notes = witness(store)["notes"]
    assert store.adopt(scratch, [TEAMS]) == Adopted(written=5, removed=3)
    assert witness(store) == {"teams": before["teams"], "notes": notes}
    assert store.adopt(scratch, [TEAMS]) == Adopted()


def test_only_the_order_of_fields_is_a_difference_too(store: MongoStore) -> None:
    there = db(store)["teams"]
    there.insert_one({"_id": 1, "a": 1, "b": {"x": 1, "y": 2}})
    before = witness(store)
    scratch = loaded(store, keep(store.backup([TEAMS])))
    for other in (
        {"b": {"x": 1, "y": 2}, "a": 1},
        {"a": 1, "b": {"y": 2, "x": 1}},
        {"a": 1.0, "b": {"x": 1, "y": 2}},
    ):
        there.replace_one({"_id": 1}, other)
        assert store.adopt(scratch, [TEAMS]) == Adopted(written=1), other
        assert witness(store) == before


@pytest.mark.parametrize("at_once", [1, 2, 3, 1000])
def test_pages_of_either_side_may_end_anywhere(
    store: MongoStore, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way in which two short lists can lie beside each other, in pages of every size."""
    monkeypatch.setattr(adopting, "AT_ONCE", at_once)
    there = db(store)["teams"]
    for mask in (0, 0b1, 0b101101, 0b110010, 0b111111):
        wanted = [n for n in range(6) if mask >> n & 1]
        scratch = store.open_scratch(a_name())
        db(scratch).create_collection("teams")
        if wanted:
            db(scratch)["teams"].insert_many([{"_id": n, "n": n} for n in wanted])
        for now in ([], [0], [5], [0, 1, 2, 3, 4, 5], [1, 3, 5], [-1, 2, 9]):
            there.delete_many({})
            if now:
                there.insert_many([{"_id": n, "n": n * (n % 2)} for n in now])
            store.adopt(scratch, [TEAMS])
            assert [one["_id"] for one in there.find().sort("_id", 1)] == wanted, (mask, now)
            assert scratch.fingerprint(TEAMS) == store.fingerprint(TEAMS) or not wanted
        store.drop_scratch(scratch._connection.dbname)


def test_ids_of_several_types_keep_their_places(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopting, "AT_ONCE", 2)
    ids: list[Any] = ["b", "a", "Z", 10, 2.5, Int64(2**40), ObjectId("0" * 24), ObjectId("f" * 24), ""]
    there = db(store)["teams"]
    there.insert_many([{"_id": one, "n": at} for at, one in enumerate(ids)])
    before = witness(store)
    scratch = loaded(store, keep(store.backup([TEAMS])))
    for gone in itertools.islice(itertools.combinations(ids, 3), 0, None, 9):
        for one in gone:
            there.delete_one({"_id": one})
        there.insert_many([{"_id": one, "n": "other"} for one in ("c", 3, ObjectId("1" * 24))])
        there.update_one({"_id": next(one for one in ids if one not in gone)}, {"$set": {"n": "changed"}})
        assert store.adopt(scratch, [TEAMS]) == Adopted(written=4, removed=3), gone
        assert witness(store) == before


def test_a_page_holds_no_more_than_memory_should(store: MongoStore, monkeypatch: pytest.MonkeyPatch) -> None:
    there = db(store)["teams"]
    there.insert_many([{"_id": n, "text": "x" * (10 if n < 50 else 5000)} for n in range(100)])
    before = witness(store)
    scratch = loaded(store, keep(store.backup([TEAMS])))
    there.update_many({}, {"$set": {"more": 1}})
    monkeypatch.setattr(adopting, "BYTES", 20_000)
    sizes: list[int] = []
    real = adopting._page

    def page(*given: Any) -> Any:
        found = real(*given)
        sizes.append(sum(map(len, found[0])))
        return found

    monkeypatch.setattr(adopting, "_page", page)
    assert store.adopt(scratch, [TEAMS]) == Adopted(written=100)
    assert max(sizes) <= 20_000
    assert witness(store) == before


def test_unique_values_that_were_swapped_are_swapped_back(store: MongoStore) -> None:
    fill(store)
    before = witness(store)
    scratch = loaded(store, keep(store.backup([TEAMS])))
    there = db(store)["teams"]
    for one, n in (
        ("t00001", -1),
        ("t00002", 1),
        ("t00001", 2),
        ("t00019", -19),
        ("t00000", 19),
        ("t00019", 0),
    ):
        there.update_one({"_id": one}, {"$set": {"n": n}})
    done = store.adopt(scratch, [TEAMS])
    assert done.written == 4
    assert witness(store) == before
    assert store.index_on(TEAMS, [("n", 1)]) is not None
    assert store.adopt(scratch, [TEAMS]) == Adopted()


def test_indexes_become_what_they_were(store: MongoStore) -> None:
    fill(store)
    before = witness(store)
    scratch = loaded(store, keep(store.backup([TEAMS])))
    store.drop_index(TEAMS, [("n", 1)])
    store.create_index(TEAMS, [("text", 1)], "text_1", {})
    store.create_index(TEAMS, [("n", 1), ("text", 1)], "both", {})
    assert store.adopt(scratch, [TEAMS]) == Adopted(reshaped=("teams",))
    assert witness(store) == before
    assert store.fingerprint(TEAMS) == scratch.fingerprint(TEAMS)
    store.drop_index(TEAMS, [("n", 1)])
    store.create_index(TEAMS, [("n", 1)], "n_1", {})
    assert store.adopt(scratch, [TEAMS]) == Adopted(reshaped=("teams",))
    assert witness(store) == before


def test_a_collection_that_was_dropped_comes_back_and_one_that_is_new_goes(store: MongoStore) -> None:
    fill(store)
    before = witness(store)
    scratch = loaded(store, keep(store.backup([TEAMS, NOTES])))
    db(store).drop_collection("teams")
    db(store)["since"].insert_many([{"_id": n} for n in range(4)])
    since = Collection(DATABASE, "since")
    assert store.adopt(scratch, [TEAMS, since, NOTES]) == Adopted(
        written=20, removed=4, reshaped=("since", "teams")
    )
    assert witness(store) == before
    assert store.adopt(scratch, [TEAMS, since, NOTES]) == Adopted()


def test_everything_is_every_collection_but_lockstep_s_own(store: MongoStore) -> None:
    fill(store)
    before = witness(store)
    scratch = loaded(store, keep(store.backup([ALL])))
    changed(store)
    db(store).drop_collection("notes")
    db(store)["since"].insert_one({"_id": 1})
    db(store)["_lockstep_parked_x"].insert_one({"_id": "parked"})
    store.adopt(scratch, [ALL])
    assert witness(store) == before
    assert db(store)["_lockstep_parked_x"].find_one({}) == {"_id": "parked"}
    assert "_lockstep_scratch" not in db(store).list_collection_names()
    assert store.fingerprint(ALL) == scratch.fingerprint(ALL)


class Killed(BaseException):
    """The worker ends here."""


@pytest.mark.parametrize("place", ["drop_others", "apply", "make_indexes", "set_rules"])
def test_an_interrupted_one_is_done_again(
    store: MongoStore, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    before = witness(store)
    scratch = loaded(store, keep(store.backup([TEAMS])))
    changed(store)
    there = db(store)["teams"]
    for one, n in (("t00001", -1), ("t00002", 1), ("t00001", 2)):
        there.update_one({"_id": one}, {"$set": {"n": n}})
    store.create_index(TEAMS, [("text", 1)], "text_1", {})
    monkeypatch.setattr(adopting, "AT_ONCE", 3)
    home: Any = adopting if place == "apply" else shapes
    real, calls = getattr(home, place), []

    def kill(*given: Any, **how: Any) -> Any:
        calls.append(place)
        if len(calls) == (1 if place != "apply" else 4):
            raise Killed
        return real(*given, **how)

    with monkeypatch.context() as patched:
        patched.setattr(home, place, kill)
        with pytest.raises(Killed):
            store.adopt(scratch, [TEAMS])
    store.adopt(scratch, [TEAMS])
    assert witness(store) == before
    assert store.adopt(scratch, [TEAMS]) == Adopted()


def test_a_document_that_somebody_writes_meanwhile_is_named(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    scratch = loaded(store, keep(store.backup([TEAMS])))
    changed(store)
    real = adopting.apply

    def apply(connection: Any, collection: Any, changes: Any) -> Any:
        db(store)["teams"].update_one({"_id": "t00003"}, {"$set": {"n": 333}})
        return real(connection, collection, changes)

    monkeypatch.setattr(adopting, "apply", apply)
    with pytest.raises(ConflictError, match=r"t00003.*Stop what else writes"):
        store.adopt(scratch, [TEAMS])


class _Server:
    """A store whose server is told to tell of collections what no embedded one has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, told: dict[str, dict[str, dict[str, Any]]]) -> None:
        def listed(connection: Any) -> dict[str, Any]:
            return {name: {"name": name, **info} for name, info in told[connection.dbname].items()}

        monkeypatch.setattr(adopting, "_listed", listed)


CAPPED = {"options": {"capped": True, "size": 4096}}
PLAIN: dict[str, Any] = {"options": {}}
VIEW = {"type": "view", "options": {"viewOn": "teams", "pipeline": []}}
SERIES = {"type": "timeseries", "options": {"timeseries": {"timeField": "at"}}}


@pytest.mark.parametrize(
    ("here", "there", "why"),
    [
        (CAPPED, PLAIN, "made with other options"),
        (PLAIN, CAPPED, "made with other options"),
        (PLAIN, VIEW, "made with other options"),
        (CAPPED, CAPPED, "capped, and holds other documents"),
        (SERIES, SERIES, "a time series"),
        (PLAIN, {"options": {"collation": {"locale": "de"}}}, "made with other options"),
    ],
)
def test_what_cannot_be_put_back_in_place_is_refused_before_anything_is_changed(
    store: MongoStore, here: Any, there: Any, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    scratch = loaded(store, keep(store.backup([TEAMS, NOTES])))
    changed(store)
    db(store).drop_collection("notes")
    held = witness(store)
    _Server(
        monkeypatch,
        {
            store._connection.dbname: {"teams": here},
            scratch._connection.dbname: {"teams": there, "notes": PLAIN},
        },
    )
    with pytest.raises(Refused, match=rf"teams \(it .*{why}\).*Nothing was changed"):
        store.adopt(scratch, [NOTES, TEAMS])
    assert witness(store) == held


@pytest.mark.parametrize(("here", "there"), [(CAPPED, PLAIN), (PLAIN, CAPPED), (PLAIN, VIEW), (VIEW, PLAIN)])
def test_an_empty_collection_and_a_view_are_made_anew(
    store: MongoStore, here: Any, there: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.database import Database

    store.create_collection(TEAMS, None)
    scratch = store.open_scratch(a_name())
    db(scratch).create_collection("teams")
    _Server(
        monkeypatch, {store._connection.dbname: {"teams": here}, scratch._connection.dbname: {"teams": there}}
    )
    made: list[Any] = []
    real = Database.create_collection

    def create(self: Any, name: str, **options: Any) -> Any:
        if not name.startswith("_lockstep_probe"):
            made.append((name, {key: value for key, value in options.items() if key != "check_exists"}))
        return real(self, name)

    monkeypatch.setattr(Database, "create_collection", create)
    assert store.adopt(scratch, [TEAMS]).reshaped == ("teams",)
    assert made == [("teams", there["options"])]


def test_a_name_of_lockstep_s_own_is_refused(store: MongoStore) -> None:
    db(store)["lockstep_things"].insert_one({"_id": 1})
    kept = keep(store.backup([ALL]))
    scratch = loaded(store, kept)
    assert scratch.fingerprint(ALL) == store.fingerprint(ALL)
    with pytest.raises(Refused, match=r"lockstep_things .its name is one of Lockstep's own"):
        store.adopt(scratch, [ALL])


def test_only_a_mongo_store_is_taken(store: MongoStore) -> None:
    with pytest.raises(Refused, match="cannot take documents"):
        store.adopt(object(), [TEAMS])


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


def test_rules_come_after_the_documents_and_only_where_they_differ(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that is said to keep validators: what is asked of it, and when."""
    from pymongo.database import Database

    fill(store, 3)
    store._connection._capabilities = replace(store.capabilities, keeps_validators=True)
    rules = {"validator": {"n": {"$exists": True}}, "validationLevel": "moderate"}
    asked: list[dict[str, Any]] = []
    real = Database.command

    def command(self: Any, name: Any, value: Any = 1, **more: Any) -> Any:
        if name == "collMod":
            asked.append({"collMod": value, **more})
        return real(self, name, value, **more)

    monkeypatch.setattr(Database, "command", command)
    assert shapes.set_rules(store._connection, "teams", rules)
    assert asked == [{"collMod": "teams", **rules, "validationAction": "error"}]
    monkeypatch.setattr(shapes, "options_of", lambda connection, name: {**rules, "validationAction": "error"})
    assert not shapes.set_rules(store._connection, "teams", rules)
    assert shapes.set_rules(store._connection, "teams", {})
    assert asked[-1]["validator"] == {}


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
