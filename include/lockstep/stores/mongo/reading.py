"""Read a collection in `_id` order, a page at a time, as BSON that is decoded once.

Pages are index bounds (`min`, `max` and a hint), because `$gt` compares within one BSON type only and would
lose documents where `_id`s are of several types. `min` is inclusive and `max` exclusive; a range is the
other way round, so the lower end is dropped and the upper end is read by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymongo.errors import OperationFailure

from lockstep.domain.errors import Unsupported
from lockstep.domain.progress import Cursor, KeyRange, Page
from lockstep.domain.resources import RESERVED, Collection
from lockstep.stores.mongo.capabilities import IDS
from lockstep.stores.mongo.codec import Kept, id_bytes, id_of, keep, key_of, key_text
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.kinds import kind_of_id

BY_ID = [("_id", 1)]
#: ids in one `$in`
AT_ONCE = 1000
#: documents by which the width of all is told
MEASURED = 100

Where = Mapping[str, Any]


def read(
    connection: Connection,
    collection: Collection,
    *,
    where: Where | None,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
    excluding: Sequence[Cursor] = (),
) -> Page:
    """Read the next documents of a range, those at the places `excluding` left out."""
    left = {id_of(key_of(cursor)) for cursor in excluding}
    with connection.translate(f"reading {collection}"):
        while True:
            raws, cursor, last = _page(connection, collection, where, within, after, limit)
            found = [raw for raw in raws if id_bytes(raw) not in left] if left else raws
            after = cursor
            if found or last:
                break
        documents = tuple(map(keep, found))
        for document in documents:
            require_addressable(connection, collection, document["_id"])
    return Page(records=documents, cursor=after, last=last, size=sum(map(len, found)))


def _page(
    connection: Connection,
    collection: Collection,
    where: Where | None,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
) -> tuple[list[bytes], Cursor | None, bool]:
    """Return documents, the place after which to go on, and whether the range ends there."""
    if within.keys is not None:
        return _named(connection, collection, where, within.keys, after, limit)
    if where and not bounds_hold(connection, collection, where):
        return _in_two(connection, collection, where, within, after, limit)
    raws, last = _bounded(connection, collection, dict(where or {}), within, after, limit)
    return raws, _place(raws, after), last


def _place(raws: Sequence[bytes], after: Cursor | None) -> Cursor | None:
    return key_text(keep(raws[-1])["_id"]) if raws else after


def _named(
    connection: Connection,
    collection: Collection,
    where: Where | None,
    keys: Sequence[Cursor],
    after: Cursor | None,
    limit: int,
) -> tuple[list[bytes], Cursor | None, bool]:
    """Read documents at these places, in the order in which the places are given."""
    start = keys.index(after) + 1 if after in keys else 0
    now = keys[start : start + limit]
    ids = [key_of(cursor) for cursor in now]
    found = _matching(connection, collection, ids, where)
    raws = [found[one] for one in map(id_of, ids) if one in found]
    return raws, now[-1] if now else after, start + limit >= len(keys)


def _in_two(
    connection: Connection,
    collection: Collection,
    where: Where,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
) -> tuple[list[bytes], Cursor | None, bool]:
    """Read `_id`s by the range and then their documents by the filter: some servers cannot do both at once."""
    keys, last = _bounded(connection, collection, {}, within, after, limit, keys_only=True)
    ids = [keep(raw)["_id"] for raw in keys]
    found = _matching(connection, collection, ids, where)
    raws = [found[one] for one in map(id_bytes, keys) if one in found]
    return raws, _place(keys, after), last


def _matching(
    connection: Connection, collection: Collection, ids: Sequence[Any], where: Where | None
) -> dict[bytes, bytes]:
    """Return BSON by the bytes of the `_id`s, of those that the filter finds."""
    found: dict[bytes, bytes] = {}
    for document_id in ids:
        require_addressable(connection, collection, document_id)
    for start in range(0, len(ids), AT_ONCE):
        named: dict[str, Any] = {"_id": {"$in": list(ids[start : start + AT_ONCE])}}
        asked = {"$and": [named, dict(where)]} if where else named
        found.update((id_bytes(raw), raw) for raw in raw_documents(connection, collection.name, asked))
    return found


def _bounded(
    connection: Connection,
    collection: Collection,
    where: dict[str, Any],
    within: KeyRange,
    after: Cursor | None,
    limit: int,
    *,
    keys_only: bool = False,
) -> tuple[list[bytes], bool]:
    """Return at most `limit` documents, and whether the range ends with them."""
    lower = after if after is not None else within.lower
    if lower is not None and lower == within.upper:
        return [], True
    # One more for the lower end itself, and one to know whether anything follows.
    raws = between(connection, collection, where, lower, within.upper, limit=limit + 2, keys_only=keys_only)
    if lower is not None and raws and id_bytes(raws[0]) == id_of(key_of(lower)):
        del raws[0]
    if within.upper is not None and len(raws) <= limit:
        named: dict[str, Any] = {"_id": {"$eq": key_of(within.upper)}}
        if where:
            named = {"$and": [named, where]}
        raws += raw_documents(connection, collection.name, named)
    return raws[:limit], len(raws) <= limit


def between(
    connection: Connection,
    collection: Collection,
    where: dict[str, Any],
    lower: Cursor | None,
    upper: Cursor | None,
    *,
    limit: int,
    skip: int = 0,
    keys_only: bool = False,
) -> list[bytes]:
    """Return documents from `lower`, itself included, to below `upper`, in `_id` order."""
    found = walk(connection, collection, where, lower, upper, limit=limit, skip=skip, keys_only=keys_only)
    return list(found)


def walk(
    connection: Connection,
    collection: Collection,
    where: dict[str, Any],
    lower: Cursor | None,
    upper: Cursor | None,
    *,
    limit: int,
    skip: int = 0,
    keys_only: bool = False,
) -> Iterator[bytes]:
    """Yield what `between` returns, an answer of the server in memory at a time."""
    there = connection.collection(collection.name)
    found: Any = there.find_raw_batches(where, {"_id": 1} if keys_only else None)
    found = found.hint(BY_ID).sort(BY_ID).skip(skip).limit(limit).batch_size(limit)
    if lower is not None:
        found = found.min([("_id", bound(connection, collection, lower))])
    if upper is not None:
        found = found.max([("_id", bound(connection, collection, upper))])
    try:
        for batch in found:
            yield from split(batch)
    except OperationFailure:
        # A hint on an index of a collection that is not there may be an error.
        if exists(connection, collection.name):
            raise


def bound(connection: Connection, collection: Collection, cursor: Cursor) -> Any:
    """Return what a cursor is to the server's index."""
    value = key_of(cursor)
    form = require_addressable(connection, collection, value)
    return str(value) if form == "text" else value


def require_addressable(connection: Connection, collection: Collection, document_id: Any) -> str:
    """Return how an `_id` is given as a bound; Unsupported where the server cannot find it again."""
    bounds = connection.capabilities.bounds
    kind = kind_of_id(document_id)
    form = bounds.get(kind, "value" if len(bounds) == len(IDS) else None)
    if form is None:
        raise Unsupported(
            f"{collection}: this server stores an _id of the kind {kind!r} and cannot find it again: "
            f"{key_text(document_id)}. Use a MongoDB server, or keep such documents out of the collection.",
            collection=collection.name,
            kind=kind,
        )
    return form


def bounds_hold(connection: Connection, collection: Collection, where: Where) -> bool:
    """Whether index bounds hold beside this filter: between a bound and itself there must be nothing."""
    if connection.capabilities.keeps_bounds:
        return True
    first = between(connection, collection, {}, None, None, limit=1, keys_only=True)
    if not first:
        return True
    edge = key_text(keep(first[0])["_id"])
    return not between(connection, collection, dict(where), edge, edge, limit=1, keys_only=True)


def is_own(name: str) -> bool:
    """Whether a collection is Lockstep's own, or the server's."""
    return name.startswith((RESERVED, "system."))


def exists(connection: Connection, name: str) -> bool:
    # Looked for in the answer too: a server may leave the filter aside.
    return name in connection.db.list_collection_names(filter={"name": name})


def count(
    connection: Connection, collection: Collection, where: Where | None, excluding: Sequence[Cursor] = ()
) -> int:
    """Count documents, those at the places `excluding` left out."""
    with connection.translate(f"counting {collection}"):
        # A server may create a collection that it is asked to aggregate.
        if not exists(connection, collection.name):
            return 0
        total = connection.collection(collection.name).count_documents(dict(where or {}))
        ids = [key_of(cursor) for cursor in dict.fromkeys(excluding)]
        return total - len(_matching(connection, collection, ids, where))


def width(connection: Connection, collection: Collection) -> int | None:
    """Return about how many bytes a document takes, by the first ones; None for an empty collection."""
    with connection.translate(f"measuring {collection}"):
        if not exists(connection, collection.name):
            return None
        found = connection.collection(collection.name).find_raw_batches({}).limit(MEASURED)
        sizes = [len(raw) for batch in found for raw in split(batch)]
    return round(sum(sizes) / len(sizes)) if sizes else None


def fetch(connection: Connection, collection: Collection, ids: Sequence[Any]) -> dict[str, Kept]:
    """Return documents by `key_text(_id)`."""
    documents = map(keep, fetch_raw(connection, collection, ids).values())
    return {key_text(document["_id"]): document for document in documents}


def fetch_raw(connection: Connection, collection: Collection, ids: Sequence[Any]) -> dict[bytes, bytes]:
    """Return documents' BSON by the bytes of their `_id`s."""
    with connection.translate(f"reading {collection}"):
        return _matching(connection, collection, ids, None)


def raw_batches(
    connection: Connection,
    name: str,
    where: Where | None = None,
    *,
    size: int = AT_ONCE,
    only: Sequence[str] | None = None,
) -> Iterator[bytes]:
    """Yield the server's answers as they come: BSON documents in a row, with `only` these fields."""
    found: Any = connection.writer(name).find_raw_batches(
        dict(where or {}), projection=None if only is None else list(only), batch_size=size
    )
    yield from found


def raw_documents(
    connection: Connection, name: str, where: Where | None = None, *, only: Sequence[str] | None = None
) -> Iterator[bytes]:
    for batch in raw_batches(connection, name, where, only=only):
        yield from split(batch)


def split(batch: bytes) -> Iterator[bytes]:
    """Yield the documents of a raw batch."""
    at = 0
    while at < len(batch):
        end = at + int.from_bytes(batch[at : at + 4], "little")
        yield batch[at:end]
        at = end
