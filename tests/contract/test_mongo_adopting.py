"""Collections are made what they are in a scratch database, by difference."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from bson import Int64, ObjectId
from kept_backups import keep
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
    witness,
)

from lockstep.domain.errors import ConflictError, Refused
from lockstep.domain.exchange import Adopted
from lockstep.domain.resources import Collection
from lockstep.stores.mongo import MongoStore, adopting, shapes


@pytest.fixture
def store(servers: Any) -> Iterator[MongoStore]:
    with a_store(servers.mongo_uri) as made:
        yield made


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
