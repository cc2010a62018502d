"""What was parked is listed with its size and age, and removed for good; collections are described."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from lockstep.domain.errors import Refused
from lockstep.domain.resources import Collection, Mongo
from lockstep.stores.mongo import MongoStore

DATABASE = Mongo("campus_documents")
TEAMS = Collection(DATABASE, "teams")
OLD = Collection(DATABASE, "old_teams")
PARKED = "_lockstep_parked_0004_1_teams"
OTHER = "_lockstep_parked_0005_2_old_teams"


@pytest.fixture
def store(servers: Any) -> Iterator[MongoStore]:
    name = f"test_{uuid.uuid4().hex}"
    made = MongoStore(DATABASE, servers.mongo_uri, name)
    for number in range(5):
        made._connection.db["teams"].insert_one({"_id": number})
    made._connection.db["old_teams"].insert_one({"_id": "x"})
    yield made
    made._connection.client.drop_database(name)
    made.close()


def names(store: MongoStore) -> set[str]:
    return set(store._connection.db.list_collection_names())


def test_a_parked_collection_says_what_it_was_and_since_when(store: MongoStore) -> None:
    assert store.parked() == []
    store.park(TEAMS, PARKED)
    store.park(OLD, OTHER)
    found = store.parked()
    assert [(one.parked_as, one.resource, one.records, one.kind) for one in found] == [
        (PARKED, "teams", 5, "collection"),
        (OTHER, "old_teams", 1, "collection"),
    ]
    assert all(one.bytes is None or one.bytes > 0 for one in found)
    now = datetime.now(timezone.utc)
    assert all(timedelta(0) <= now - one.parked_at < timedelta(minutes=10) for one in found)
    # Parked once more by an attempt that came late, it is as old as it was.
    store.park(TEAMS, PARKED)
    assert store.parked() == found


def test_what_came_back_is_not_parked_any_more(store: MongoStore) -> None:
    store.park(TEAMS, PARKED)
    store.unpark(TEAMS, PARKED)
    assert store.parked() == []
    assert store.count(TEAMS) == 5


def test_one_that_nobody_noted_is_as_old_as_it_is_known(store: MongoStore) -> None:
    store._connection.db[PARKED].insert_one({"_id": 1})
    first = store.parked()
    assert [(one.parked_as, one.resource) for one in first] == [(PARKED, "0004_1_teams")]
    assert store.parked() == first


def test_one_thing_is_removed_and_the_others_stay(store: MongoStore) -> None:
    store.park(TEAMS, PARKED)
    store.park(OLD, OTHER)
    first, second = store.parked()
    store.remove_parked(first)
    store.remove_parked(first)
    assert store.parked() == [second]
    assert PARKED not in names(store)


@pytest.mark.parametrize("name", ["teams", "", "_lockstep_moves", "_lockstep_parks"])
def test_nothing_else_is_dropped(store: MongoStore, name: str) -> None:
    store.park(OLD, OTHER)
    thing = replace(store.parked()[0], parked_as=name)
    held = names(store)
    with pytest.raises(Refused, match="no parked collection"):
        store.remove_parked(thing)
    assert names(store) == held


def test_a_portrait_has_each_collection_that_is_in_use(store: MongoStore) -> None:
    store.park(OLD, OTHER)
    store.create_index(TEAMS, [("n", 1)], "n_1", {"unique": True})
    found = store.portrait()
    assert list(found) == ["collection teams"]
    assert '"n"' in found["collection teams"]
    assert "unique" in found["collection teams"]
    store._connection.db["teams"].insert_one({"_id": "more", "n": 7})
    assert store.portrait() == found
    store.drop_index(TEAMS, [("n", 1)])
    assert store.portrait() != found
