"""Find the first record in which two copies of a resource differ, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from lockstep.domain.errors import DataError, LockstepError
from lockstep.domain.progress import Cursor, KeyRange
from lockstep.domain.resources import Collection, Everything, Prefix, Resource, Table
from lockstep.engine.ports import DocumentStore, ObjectStore, TableStore
from lockstep.engine.rehearsing.samples import Shown, shown, shown_object
from lockstep.engine.services import Store

#: records compared at a time
PAGE = 500
#: the same of objects, whose bodies are read
OBJECTS = 50
#: bytes of their bodies
BODIES = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A resource that is not what it was, and the first record that shows it."""

    resource: str
    #: such as "its content differs"
    how: str
    key: str | None = None
    #: what differs of it; None for a record that is not there
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    #: objects of the database, such as an index, that are defined otherwise: name → (before, after)
    shape: tuple[tuple[str, str | None, str | None], ...] = ()
    #: what could not be told
    note: str = ""


def first_difference(
    resource: Resource, before: Store, after: Store
) -> tuple[str, Shown | None, Shown | None] | None:
    """Return a record's key, and what it was and is, of the first that differs; None where all are the same.

    `before` and `after`: stores of one kind on two copies. Records of each are looked up in the other by key, so
    that no order has to be known: pages of what was there first, then pages of what is there now.
    """
    for key, was, now in _pairs(resource, before, after):
        if was != now:
            return key, *_changed(was, now)
    for key, now, was in _pairs(resource, after, before):
        if was is None:
            return key, None, now
    return None


def _changed(was: Shown | None, now: Shown | None) -> tuple[Shown | None, Shown | None]:
    if was is None or now is None:
        return was, now
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    return {n: was[n] for n in names if n in was}, {n: now[n] for n in names if n in now}


def _pairs(resource: Resource, one: Store, other: Store) -> Iterator[tuple[str, Shown | None, Shown | None]]:
    """Yield each record of one copy with what the other has under its key."""
    after: Cursor | None = None
    while True:
        pairs, after, last = _page(resource, one, other, after)
        yield from pairs
        if last:
            return


def _page(
    resource: Resource, one: Store, other: Store, after: Cursor | None
) -> tuple[list[tuple[str, Shown | None, Shown | None]], Cursor | None, bool]:
    if isinstance(resource, Table):
        return _rows(resource, cast(TableStore, one), cast(TableStore, other), after)
    if isinstance(resource, Collection):
        return _documents(resource, cast(DocumentStore, one), cast(DocumentStore, other), after)
    return _objects(resource, cast(ObjectStore, one), cast(ObjectStore, other), after)


def _rows(
    table: Table, one: TableStore, other: TableStore, after: Cursor | None
) -> tuple[list[tuple[str, Shown | None, Shown | None]], Cursor | None, bool]:
    if not one.exists(table):
        return [], None, True
    keys = one.keys_of(table)
    page = one.read(table, columns=None, where=None, within=KeyRange(), after=after, limit=PAGE)
    fetched = other.fetch(table, page.records) if page.records and other.exists(table) else []
    there = {tuple(row.get(name) for name in keys): row for row in map(dict, fetched)}
    pairs: list[tuple[str, Shown | None, Shown | None]] = []
    for row in page.records:
        key = tuple(row[name] for name in keys)
        text = str(key[0]) if len(key) == 1 else repr(key)
        pairs.append((text, *_sides(row, there.get(key))))
    return pairs, page.cursor, page.last


def _sides(one: Mapping[str, Any], other: Mapping[str, Any] | None) -> tuple[Shown | None, Shown | None]:
    """Return both as they are shown, alike only where they are the same value for value."""
    first = shown(one)
    if other is None:
        return first, None
    second = shown(other)
    for name in {**one, **other}:
        if first.get(name) == second.get(name) and one.get(name, ...) != other.get(name, ...):
            # Shortened or hidden alike, and yet not the same.
            second[name] = f"{second.get(name)} (another value)"
    return first, second


def _documents(
    collection: Collection, one: DocumentStore, other: DocumentStore, after: Cursor | None
) -> tuple[list[tuple[str, Shown | None, Shown | None]], Cursor | None, bool]:
    page = one.read(collection, where=None, within=KeyRange(), after=after, limit=PAGE)
    fetched = other.fetch(collection, [document["_id"] for document in page.records]) if page.records else {}
    pairs: list[tuple[str, Shown | None, Shown | None]] = []
    for document in page.records:
        key = one.key_text(document["_id"])
        found = fetched.get(key)
        was, now = _sides(document, found)
        if was == now and found is not None and not one.same(document, found):
            now = {**(now or {}), "(order of fields, or types)": "differs"}
        pairs.append((key, was, now))
    return pairs, page.cursor, page.last


def _objects(
    prefix: Prefix, one: ObjectStore, other: ObjectStore, after: Cursor | None
) -> tuple[list[tuple[str, Shown | None, Shown | None]], Cursor | None, bool]:
    page = one.read(prefix, suffix="", within=KeyRange(), after=after, limit=OBJECTS, bodies=BODIES)
    fetched = other.fetch([seen.what.key for seen in page.records]) if page.records else {}
    pairs: list[tuple[str, Shown | None, Shown | None]] = []
    for seen in page.records:
        key = seen.what.key
        now = fetched.get(key)
        pairs.append((key, shown_object(seen), shown_object(now) if now is not None else None))
    return pairs, page.cursor, page.last


def describe(resource: Any, how: str, before: Store, after: Store) -> Difference:
    """Say how a resource differs, down to a record or a definition where one can be named."""
    if isinstance(resource, Everything):
        return Difference(resource=str(resource), how=how)
    shape = shape_differences(before, after)
    try:
        found = first_difference(resource, before, after)
    except DataError as problem:
        return Difference(resource=str(resource), how=how, shape=shape, note=str(problem))
    if found is None:
        return Difference(resource=str(resource), how=how, shape=shape)
    key, was, now = found
    return Difference(resource=str(resource), how=how, key=key, before=was, after=now, shape=shape)


def shape_differences(before: Store, after: Store) -> tuple[tuple[str, str | None, str | None], ...]:
    """Return the definitions that differ between two copies of a database: name, before, after."""
    try:
        was, now = before.portrait(), after.portrait()
    except LockstepError:
        return ()
    return tuple(
        (name, was.get(name), now.get(name))
        for name in sorted({**was, **now})
        if was.get(name) != now.get(name)
    )
