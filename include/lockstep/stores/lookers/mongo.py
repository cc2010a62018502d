"""Look at a MongoDB database: what its server says of itself, of its collections and of the login."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo.errors import ConnectionFailure, OperationFailure

from lockstep.domain.looking import NOTHING, Right, Size, Space, Wish
from lockstep.domain.resources import Collection, Everything, Touched
from lockstep.stores.mongo.reading import is_own
from lockstep.stores.mongo.store import MongoStore

#: what a run does with a collection, and with those of its own beside it
ACTIONS = {
    "read": ("find",),
    "write": ("find", "insert", "update", "remove"),
    "own": ("createIndex", "dropIndex", "collMod"),
    "create": ("createCollection",),
}


class MongoLooker:
    """A Looker of one database."""

    def __init__(self, store: MongoStore) -> None:
        self._store = store
        self._connection = store._connection

    def facts(self) -> Mapping[str, str]:
        told = self._store.check()
        return {**told, "server": "MongoDB protocol"}

    def sizes(self, touched: Sequence[Touched]) -> Mapping[str, Size]:
        connection = self._connection
        with connection.translate("listing collections"):
            there = [name for name in connection.db.list_collection_names() if not is_own(name)]
        found: dict[str, Size] = {}
        for one in touched:
            if isinstance(one, Collection):
                found[one.slug] = self._size(one.name) if one.name in there else NOTHING
            elif isinstance(one, Everything):
                found[one.slug] = sum((self._size(name) for name in there), NOTHING)
        return found

    def _size(self, name: str) -> Size:
        connection = self._connection
        with connection.translate(f"asking how large collection {name} is"):
            told = self._asked("collStats", name)
            records = told.get("count")
            if not isinstance(records, int):
                records = connection.collection(name).estimated_document_count()
        size = told.get("size")
        return Size(records=records, bytes=size if isinstance(size, int) else None)

    def space(self) -> Space:
        with self._connection.translate("asking how large it is"):
            told = self._asked("dbStats", 1)
        used = told.get("storageSize") or told.get("dataSize")
        total, taken = told.get("fsTotalSize"), told.get("fsUsedSize")
        free = int(total - taken) if total and taken is not None else None
        return Space(used=None if used is None else int(used), free=free)

    def rights(self, wishes: Sequence[Wish]) -> list[Right]:
        with self._connection.translate("asking for its rights"):
            told = self._asked("connectionStatus", 1, showPrivileges=True).get("authInfo")
        named = [wish for wish in wishes if isinstance(wish.touched, Collection)]
        if told is None:
            unknown = "the server does not say what a login may do"
            return [Right(what="rights on its collections", granted=None, words=unknown)] if named else []
        if not told.get("authenticatedUsers"):
            return []  # nobody logs in, so nobody is kept out
        granted = told.get("authenticatedUserPrivileges") or []
        return [self._right(wish, granted) for wish in named]

    def _right(self, wish: Wish, granted: Sequence[Mapping[str, Any]]) -> Right:
        name = wish.touched.slug
        held = {
            action
            for one in granted
            if _covers(one.get("resource", {}), self._connection.dbname, name)
            for action in one.get("actions", ())
        }
        missing = [action for action in ACTIONS[wish.need] if action not in held and "anyAction" not in held]
        return Right(
            what=f"{wish.need} collection {name}",
            granted=not missing,
            words=f"grant {', '.join(missing)} on it; the role readWrite has what most revisions need, dbAdmin the rest",
        )

    def trouble(self) -> list[str]:
        return []

    def _asked(self, command: str, value: Any, **more: Any) -> dict[str, Any]:
        """Return a server's answer; nothing where it does not know the command, or does not let us ask it."""
        try:
            return dict(self._connection.db.command(command, value, **more))
        except ConnectionFailure:
            raise
        except OperationFailure:
            return {}


def _covers(resource: Mapping[str, Any], dbname: str, name: str) -> bool:
    if resource.get("anyResource"):
        return True
    if "db" not in resource:
        return False
    return resource["db"] in ("", dbname) and resource.get("collection") in ("", name)
