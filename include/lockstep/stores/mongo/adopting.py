"""Make collections what they are in another database of the same server, writing only what differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lockstep.domain.errors import BadRecords, ConflictError, Refused, ResourceError
from lockstep.domain.exchange import Adopted
from lockstep.domain.progress import Change, Cursor
from lockstep.domain.resources import Collection, Everything
from lockstep.stores.mongo import shapes
from lockstep.stores.mongo.applying import apply
from lockstep.stores.mongo.codec import as_json, id_bytes, id_of, keep, key_of, key_text
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.fingerprints import digests
from lockstep.stores.mongo.loading import AT_ONCE, BYTES
from lockstep.stores.mongo.reading import is_own, raw_documents, walk
from lockstep.stores.mongo.structure import indexes_of, options_of

DOING = "putting back what the backup has"

#: drop: the source has none · make: only the source has it · remake: it holds nothing, and its options cannot be
#: changed · merge: both have it
_Way = Literal["drop", "make", "remake", "merge"]
_Info = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    collection: Collection
    way: _Way
    is_view: bool
    options: Mapping[str, Any]


class _Cannot(Exception):
    """Why a collection cannot be made what it was, in place."""


def adopt(
    connection: Connection, source: Connection, resources: Sequence[Collection | Everything]
) -> Adopted:
    """Merge each collection in the server's order of `_id`, then give it its shape.

    Unique indexes and validators that stand in the way are taken off meanwhile; an interrupted one is done again
    from the start, and that puts them back.
    """
    plans = _plans(connection, source, resources)
    written = removed = 0
    reshaped: list[str] = []
    for plan in plans:
        with connection.translate(f"{DOING}: {plan.collection}"):
            done = _adopt(connection, source, plan)
        written += done.written
        removed += done.removed
        reshaped += done.reshaped
    return Adopted(written=written, removed=removed, reshaped=tuple(reshaped))


def _plans(
    connection: Connection, source: Connection, resources: Sequence[Collection | Everything]
) -> list[_Plan]:
    """Say what becomes of each collection; Refused names those of which nothing can be made in place."""
    with connection.translate("listing collections"):
        here, there = _listed(connection), _listed(source)
        names = {resource.name for resource in resources if isinstance(resource, Collection)}
        if any(isinstance(resource, Everything) for resource in resources):
            names |= {name for name in (*here, *there) if not is_own(name)}
        plans: list[_Plan] = []
        problems: list[str] = []
        for name in sorted(names & (here.keys() | there.keys())):
            try:
                plans.append(_plan(connection, source, name, here.get(name), there.get(name)))
            except _Cannot as why:
                problems.append(f"{name} ({why})")
    if problems:
        raise Refused(
            f"{connection.translate.where}: what the backup has cannot be put back into {', '.join(problems)}. "
            "Nothing was changed. Rename or drop these first, or restore into another database.",
            collections=tuple(problems),
        )
    # A view is made when what it looks at is there.
    return sorted(plans, key=lambda plan: plan.is_view)


def _listed(connection: Connection) -> dict[str, _Info]:
    return {str(info["name"]): info for info in connection.db.list_collections()}


def _plan(
    connection: Connection, source: Connection, name: str, here: _Info | None, there: _Info | None
) -> _Plan:
    try:
        collection = Collection(connection.declared, name)
    except ResourceError as problem:
        raise _Cannot("its name is one of Lockstep's own") from problem
    one = there or here or {}
    way: _Way = "drop" if there is None else "make"
    if here is not None and there is not None:
        way = _way(connection, source, name, here, there)
    return _Plan(
        collection=collection, way=way, is_view=one.get("type") == "view", options=shapes.plain_options(one)
    )


def _way(connection: Connection, source: Connection, name: str, here: _Info, there: _Info) -> _Way:
    kinds = (here.get("type", "collection"), there.get("type", "collection"))
    if "timeseries" in kinds:
        raise _Cannot("it is a time series")
    same = kinds[0] == kinds[1] and _fixed(here) == _fixed(there)
    if kinds[0] == "view":
        return "merge" if same else "remake"
    is_empty = connection.collection(name).find_one({}, {"_id": 1}) is None
    if not same and not is_empty:
        raise _Cannot("it holds documents, and was made with other options")
    if here.get("options", {}).get("capped") and not is_empty and _differ(connection, source, name):
        raise _Cannot("it is capped, and holds other documents")
    return "merge" if same else "remake"


def _fixed(info: _Info) -> str:
    return as_json(shapes.fixed(shapes.plain_options(info)), sort=True)


def _differ(connection: Connection, source: Connection, name: str) -> bool:
    return digests(connection, name) != digests(source, name)


def _adopt(connection: Connection, source: Connection, plan: _Plan) -> Adopted:
    name = plan.collection.name
    reshaped = plan.way != "merge"
    removed = 0
    if plan.way == "drop" and not plan.is_view:
        removed = connection.collection(name).estimated_document_count()
    if plan.way in ("drop", "remake"):
        connection.collection(name).drop()
    if plan.way in ("make", "remake"):
        shapes.create(connection, name, plan.options)
    if plan.way == "drop" or plan.is_view:
        return Adopted(removed=removed, reshaped=(name,) if reshaped else ())
    wanted = indexes_of(source, name)
    reshaped |= shapes.drop_others(connection, name, wanted)
    written, removed = _merge(connection, source, plan.collection)
    reshaped |= shapes.make_indexes(connection, name, wanted)
    reshaped |= shapes.set_rules(connection, name, plan.options)
    return Adopted(written=written, removed=removed, reshaped=(name,) if reshaped else ())


def _merge(connection: Connection, source: Connection, collection: Collection) -> tuple[int, int]:
    """Write what differs, one range of `_id`s after the other; return how many were written and taken away."""
    written = removed = 0
    lower: Cursor | None = None
    last = False
    while not last:
        page, last = _page(source, collection, lower, None)
        # Ranges end where a page of the source does: the server compares `_id`s, since only it knows their order.
        upper = None if last else key_text(keep(page[-1])["_id"])
        left = {id_bytes(raw): raw for raw in page}
        for now in _pages(connection, collection, lower, upper):
            changes = [(raw, left.pop(id_bytes(raw), None)) for raw in now]
            removed += _write(connection, collection, [one for one in changes if one[1] is None])
            differing = [(was, wanted) for was, wanted in changes if wanted is not None and was != wanted]
            written += _write(connection, collection, differing)
        written += _write(connection, collection, [(None, raw) for raw in left.values()])
        lower = upper
    return written, removed


def _pages(
    connection: Connection, collection: Collection, lower: Cursor | None, upper: Cursor | None
) -> Iterator[list[bytes]]:
    last = False
    while not last:
        page, last = _page(connection, collection, lower, upper)
        if page:
            yield page
            lower = key_text(keep(page[-1])["_id"])


def _page(
    connection: Connection, collection: Collection, lower: Cursor | None, upper: Cursor | None
) -> tuple[list[bytes], bool]:
    """Return the next documents of `(lower, upper]`, as many as memory should hold, and whether they are the last."""
    if lower is not None and lower == upper:
        return [], True
    page: list[bytes] = []
    size = 0
    below = None if lower is None else id_of(key_of(lower))
    for raw in _between(connection, collection, lower, upper):
        if below is not None and not page and id_bytes(raw) == below:
            continue
        if page and (len(page) == AT_ONCE or size + len(raw) > BYTES):
            return page, False
        page.append(raw)
        size += len(raw)
    return page, True


def _between(
    connection: Connection, collection: Collection, lower: Cursor | None, upper: Cursor | None
) -> Iterator[bytes]:
    """Yield from `lower`, itself included, to `upper`, itself included."""
    yield from walk(connection, collection, {}, lower, upper, limit=AT_ONCE + 2)
    if upper is not None:
        yield from raw_documents(connection, collection.name, {"_id": {"$eq": key_of(upper)}})


def _write(
    connection: Connection,
    collection: Collection,
    pairs: Sequence[tuple[bytes | None, bytes | None]],
    *,
    loosened: bool = False,
) -> int:
    """Write (as it is, as it is to be) pairs, each where it still is as it was; return how many were."""
    if not pairs:
        return 0
    changes = [_change(was, wanted) for was, wanted in pairs]
    applied = apply(connection, collection, changes)
    if applied.conflicts:
        raise ConflictError(resource=str(collection), keys=applied.conflicts, doing=DOING)
    if not applied.refused:
        return applied.written
    if loosened:
        raise BadRecords(resource=str(collection), records=applied.refused)
    # Two documents that swap a unique value cannot be written one after the other; all of the source can be there.
    _loosen(connection, collection.name)
    refused = {one.key for one in applied.refused}
    again = [pair for pair, change in zip(pairs, changes, strict=True) if change.key in refused]
    return applied.written + _write(connection, collection, again, loosened=True)


def _change(was: bytes | None, wanted: bytes | None) -> Change:
    before = None if was is None else keep(was)
    after = None if wanted is None else keep(wanted)
    named = before if before is not None else after
    assert named is not None
    return Change(key=key_text(named["_id"]), before=before, after=after)


def _loosen(connection: Connection, name: str) -> None:
    for index in indexes_of(connection, name):
        if index.get("unique") and not shapes.is_of_ids(index):
            connection.collection(name).drop_index(index["name"])
    if connection.capabilities.keeps_validators and options_of(connection, name).get("validator"):
        connection.db.command("collMod", name, validationLevel="off")
