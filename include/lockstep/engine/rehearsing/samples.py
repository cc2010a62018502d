"""A few records of each operation, before and after it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.objects import Seen, StoredObject
from lockstep.domain.operations.base import Operation
from lockstep.domain.progress import KeyRange, Phase
from lockstep.domain.resources import Collection, Everything, Prefix, Resource, Table
from lockstep.engine.ports import DocumentStore, ObjectStore, TableStore
from lockstep.engine.services import Services

#: so many records are looked at for each that is shown: an operation may change few of them
LOOKED_AT = 10
#: characters of a value that are shown
SHOWN = 200
#: bytes of an object's body that are read for it, over all objects that are looked at
BODIES = 1024 * 1024
#: fields whose values nobody should read in a report, by their names
_SECRET = re.compile(
    r"passw|secret|token|credential|api_?key|private_?key|\bhash\b|_hash$|salt", re.IGNORECASE
)

Shown = dict[str, Any]


class Showing:
    """Looks at records before an operation, and at the same ones after it."""

    def __init__(self, services: Services, most: int) -> None:
        self._services = services
        #: records that are shown of an operation; 0 for none
        self._most = most
        #: by the operation's identity: what it sets may be a mapping, which has no hash
        self._before: dict[tuple[int, Resource], dict[str, tuple[Any, Shown]]] = {}

    def before(self, operation: Operation, phase: Phase) -> None:
        """Take down what the first records look like."""
        if not self._most or phase == "undo":
            return
        for resource in _resources(operation):
            self._before[id(operation), resource] = self._first(operation, resource)

    def after(self, operation: Operation, phase: Phase) -> list[dict[str, Any]]:
        """Return the records that changed, of those that were looked at; where there was none, the first ones."""
        if not self._most or phase == "undo":
            return []
        found: list[dict[str, Any]] = []
        for resource in _resources(operation):
            kept = self._before.pop((id(operation), resource), {})
            found += self._changed(operation, resource, kept)
        return found[: self._most]

    def _changed(
        self, operation: Operation, resource: Resource, kept: Mapping[str, tuple[Any, Shown]]
    ) -> list[dict[str, Any]]:
        now = self._again(resource, kept)
        changed = [
            _pair(resource, key, before, now.get(key))
            for key, (_, before) in kept.items()
            if now.get(key) != before
        ]
        if len(changed) < self._most:
            # What was not there before, such as rows that were inserted or copied.
            fresh = self._first(operation, resource, filtered=False)
            changed += [
                _pair(resource, key, None, shown)
                for key, (_, shown) in fresh.items()
                if key not in kept and not kept
            ]
        return changed[: self._most]

    def _first(
        self, operation: Operation, resource: Resource, *, filtered: bool = True
    ) -> dict[str, tuple[Any, Shown]]:
        """Return the first records that the operation is about, as far as they can be read."""
        limit = self._most * LOOKED_AT
        where = getattr(operation, "where", None) if filtered and resource in operation.writes else None
        if "source" in operation.__dict__:
            where = None  # a copy's condition is about its source
        try:
            if isinstance(resource, Table):
                return self._rows(resource, where, limit)
            if isinstance(resource, Collection):
                return self._documents(resource, where, limit)
            return self._objects(resource, getattr(operation, "suffix", "") if filtered else "", limit)
        except LockstepError:
            return {}  # it is not there, or has no key to find a record by

    def _rows(self, table: Table, where: str | None, limit: int) -> dict[str, tuple[Any, Shown]]:
        store = self._tables(table)
        if not store.exists(table):
            return {}
        keys = store.keys_of(table)
        page = store.read(table, columns=None, where=where, within=KeyRange(), after=None, limit=limit)
        return {_key(row, keys): ({name: row[name] for name in keys}, shown(row)) for row in page.records}

    def _documents(self, collection: Collection, where: Any, limit: int) -> dict[str, tuple[Any, Shown]]:
        store = self._collections(collection)
        if not store.exists(collection):
            return {}
        page = store.read(collection, where=where, within=KeyRange(), after=None, limit=limit)
        return {store.key_text(one["_id"]): (one["_id"], shown(one)) for one in page.records}

    def _objects(self, prefix: Prefix, suffix: str, limit: int) -> dict[str, tuple[Any, Shown]]:
        page = self._prefixes(prefix).read(
            prefix, suffix=suffix, within=KeyRange(), after=None, limit=limit, bodies=BODIES
        )
        return {one.what.key: (one.what.key, shown_object(one)) for one in page.records}

    def _again(self, resource: Resource, kept: Mapping[str, tuple[Any, Shown]]) -> dict[str, Shown]:
        places = [place for place, _ in kept.values()]
        if not places:
            return {}
        try:
            if isinstance(resource, Table):
                store = self._tables(resource)
                keys = store.keys_of(resource)
                return {_key(row, keys): shown(row) for row in store.fetch(resource, places)}
            if isinstance(resource, Collection):
                fetched = self._collections(resource).fetch(resource, places)
                return {key: shown(document) for key, document in fetched.items()}
            return {key: shown_object(one) for key, one in self._prefixes(resource).fetch(places).items()}
        except LockstepError:
            return {}  # the whole resource is gone

    def _tables(self, table: Table) -> TableStore:
        return self._services.tables(table.database)

    def _collections(self, collection: Collection) -> DocumentStore:
        return self._services.documents(collection.database)

    def _prefixes(self, prefix: Prefix) -> ObjectStore:
        return self._services.objects(prefix.database)


def _resources(operation: Operation) -> list[Resource]:
    return [one for one in operation.writes if not isinstance(one, Everything)]


def _pair(resource: Resource, key: str, before: Shown | None, after: Shown | None) -> dict[str, Any]:
    """Return what changed of a record; what stayed is left out."""
    if before is not None and after is not None:
        names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        before, after = ({name: one[name] for name in names if name in one} for one in (before, after))
    return {"resource": str(resource), "key": key, "before": before, "after": after}


def _key(row: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    values = [row[name] for name in keys]
    return str(values[0]) if len(values) == 1 else repr(tuple(map(str, values)))


def shown(record: Mapping[str, Any]) -> Shown:
    """Return a record as a report shows it: values as short text, those of secret fields left out."""
    return {str(name): _masked(str(name), value) for name, value in record.items()}


def shown_object(seen: Seen | StoredObject) -> Shown:
    """Return an object as a report shows it."""
    what = seen.what if isinstance(seen, Seen) else seen
    found: Shown = {
        "content_type": what.content_type,
        "metadata": short(dict(what.metadata)),
        "tags": short(dict(what.tags)),
    }
    if isinstance(what, StoredObject):
        found["body"] = short(what.body)
    return found


def _masked(name: str, value: Any) -> str:
    return "•••" if _SECRET.search(name) and value is not None else short(value)


def short(value: Any) -> str:
    """Return a value as text that fits into a table."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        body = bytes(value)
        return f"{len(body)} byte(s), SHA-256 {hashlib.sha256(body).hexdigest()[:16]}"
    if isinstance(value, Mapping):
        inner = {str(name): _masked(str(name), one) for name, one in value.items()}
        text = ", ".join(f"{name}: {one}" for name, one in inner.items())
        text = "{" + text + "}"
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(short(one) for one in value[:20]) + (", …]" if len(value) > 20 else "]")
    else:
        text = value if isinstance(value, str) else repr(value) if value is None else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
