"""Read a collection in `_id` order, a page at a time, and cut it into ranges.

Pages are index bounds (`min`, `max` and a hint), because `$gt` compares within one BSON type only and would
lose documents where `_id`s are of several types. `min` is inclusive and `max` exclusive; a range is the
other way round, so the lower end is dropped and the upper end is read by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import bson
from pymongo.errors import OperationFailure

from lockstep.domain.errors import Unsupported
from lockstep.domain.progress import Cursor, KeyRange, Page
from lockstep.domain.resources import Collection
from lockstep.stores.mongo.capabilities import IDS
from lockstep.stores.mongo.codec import DECODE, Document, id_bytes, key_of, key_text, same_key
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.kinds import kind_of_id

BY_ID = [("_id", 1)]
#: ids in one `$in`
AT_ONCE = 1000

Where = Mapping[str, Any]


def read(
    connection: Connection,
    collection: Collection,
    *,
    where: Where | None,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
) -> Page:
    """Read the next documents of a range."""
    with connection.translate(f"reading {collection}"):
        if where and not _bounds_hold(connection, collection, where):
            return _read_in_two(connection, collection, where, within, after, limit)
        documents, last = _bounded(connection, collection, dict(where or {}), within, after, limit)
    cursor = key_text(documents[-1]["_id"]) if documents else after
    return Page(records=tuple(documents), cursor=cursor, last=last)


def _read_in_two(
    connection: Connection,
    collection: Collection,
    where: Where,
    within: KeyRange,
    after: Cursor | None,
    limit: int,
) -> Page:
    """Read `_id`s by the range and then their documents by the filter: some servers cannot do both at once."""
    last = False
    found: list[Document] = []
    while not found and not last:
        keys, last = _bounded(connection, collection, {}, within, after, limit, keys_only=True)
        ids = [document["_id"] for document in keys]
        after = key_text(ids[-1]) if ids else after
        matching = {
            key_text(document["_id"]): document
            for document in connection.collection(collection.name).find(
                {"$and": [{"_id": {"$in": ids}}, dict(where)]}
            )
        }
        found = [matching[key] for key in map(key_text, ids) if key in matching]
    return Page(records=tuple(found), cursor=after, last=last)


def _bounded(
    connection: Connection,
    collection: Collection,
    where: dict[str, Any],
    within: KeyRange,
    after: Cursor | None,
    limit: int,
    *,
    keys_only: bool = False,
) -> tuple[list[Document], bool]:
    """Return at most `limit` documents, and whether the range ends with them."""
    lower = after if after is not None else within.lower
    if lower is not None and lower == within.upper:
        return [], True
    # One more for the lower end itself, and one to know whether anything follows.
    documents = _between(
        connection, collection, where, lower, within.upper, limit=limit + 2, keys_only=keys_only
    )
    if lower is not None and documents and same_key(documents[0]["_id"], key_of(lower)):
        del documents[0]
    if within.upper is not None and len(documents) <= limit:
        named: dict[str, Any] = {"_id": {"$eq": key_of(within.upper)}}
        if where:
            named = {"$and": [named, where]}
        documents += connection.collection(collection.name).find(named, {"_id": 1} if keys_only else None)
    for document in documents:
        require_addressable(connection, collection, document["_id"])
    return documents[:limit], len(documents) <= limit


def _between(
    connection: Connection,
    collection: Collection,
    where: dict[str, Any],
    lower: Cursor | None,
    upper: Cursor | None,
    *,
    limit: int,
    skip: int = 0,
    keys_only: bool = False,
) -> list[Document]:
    """Return documents from `lower`, itself included, to below `upper`, in `_id` order."""
    found = connection.collection(collection.name).find(where, {"_id": 1} if keys_only else None)
    found = found.hint(BY_ID).sort(BY_ID).skip(skip).limit(limit).batch_size(limit)
    if lower is not None:
        found = found.min([("_id", bound(connection, collection, lower))])
    if upper is not None:
        found = found.max([("_id", bound(connection, collection, upper))])
    try:
        return list(found)
    except OperationFailure:
        # A hint on an index of a collection that is not there may be an error.
        if exists(connection, collection.name):
            raise
        return []


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


def _bounds_hold(connection: Connection, collection: Collection, where: Where) -> bool:
    """Whether index bounds hold beside this filter: between a bound and itself there must be nothing."""
    if connection.capabilities.keeps_bounds:
        return True
    first = _between(connection, collection, {}, None, None, limit=1, keys_only=True)
    if not first:
        return True
    edge = key_text(first[0]["_id"])
    return not _between(connection, collection, dict(where), edge, edge, limit=1, keys_only=True)


def plan_ranges(
    connection: Connection, collection: Collection, *, where: Where | None, shards: int, least: int
) -> list[KeyRange]:
    """Cut the `_id`s into ranges of about as many documents, by walking the index."""
    with connection.translate(f"cutting {collection} into ranges"):
        if not exists(connection, collection.name):
            return [KeyRange()]
        there = connection.collection(collection.name)
        wanted = dict(where or {})
        total = there.count_documents(wanted) if wanted else there.estimated_document_count()
        parts = max(1, min(shards, total // max(least, 1)))
        if parts == 1:
            return [KeyRange()]
        if wanted and not _bounds_hold(connection, collection, wanted):
            wanted, total = {}, there.estimated_document_count()
        cuts = list(_cuts(connection, collection, wanted, parts, total // parts))
    edges: list[Cursor | None] = [None, *cuts, None]
    return [
        KeyRange(lower=lower, upper=upper, label=_label(lower, upper))
        for lower, upper in itertools.pairwise(edges)
    ]


def _cuts(
    connection: Connection, collection: Collection, where: dict[str, Any], parts: int, size: int
) -> Iterator[Cursor]:
    lower: Cursor | None = None
    for _ in range(parts - 1):
        # The bound itself is counted again, so after the first cut the skip is one longer.
        skip = size - 1 if lower is None else size
        next_one = _between(connection, collection, where, lower, None, limit=1, skip=skip, keys_only=True)
        if not next_one:
            return
        lower = key_text(next_one[0]["_id"])
        yield lower


def _label(lower: Cursor | None, upper: Cursor | None) -> str:
    shown = [None if edge is None else _short(edge) for edge in (lower, upper)]
    if shown[0] is None:
        return "all" if shown[1] is None else f"up to {shown[1]}"
    return f"after {shown[0]}" if shown[1] is None else f"{shown[0]} to {shown[1]}"


def _short(edge: Cursor) -> str:
    value = key_of(edge)
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def exists(connection: Connection, name: str) -> bool:
    # Looked for in the answer too: a server may leave the filter aside.
    return name in connection.db.list_collection_names(filter={"name": name})


def count(connection: Connection, collection: Collection, where: Where | None) -> int:
    with connection.translate(f"counting {collection}"):
        # A server may create a collection that it is asked to aggregate.
        if not exists(connection, collection.name):
            return 0
        return connection.collection(collection.name).count_documents(dict(where or {}))


def fetch(connection: Connection, collection: Collection, ids: Sequence[Any]) -> dict[str, Document]:
    """Return documents by `key_text(_id)`."""
    raws = fetch_raw(connection, collection, ids)
    documents = [bson.decode(raw, codec_options=DECODE) for raw in raws.values()]
    return {key_text(document["_id"]): document for document in documents}


def fetch_raw(connection: Connection, collection: Collection, ids: Sequence[Any]) -> dict[bytes, bytes]:
    """Return documents' BSON by the bytes of their `_id`s."""
    found: dict[bytes, bytes] = {}
    with connection.translate(f"reading {collection}"):
        for document_id in ids:
            require_addressable(connection, collection, document_id)
        for start in range(0, len(ids), AT_ONCE):
            named = {"_id": {"$in": list(ids[start : start + AT_ONCE])}}
            found.update((id_bytes(raw), raw) for raw in raw_documents(connection, collection.name, named))
    return found


def raw_batches(
    connection: Connection, name: str, where: Where | None = None, *, size: int = AT_ONCE
) -> Iterator[bytes]:
    """Yield the server's answers as they come: BSON documents in a row."""
    found: Any = connection.writer(name).find_raw_batches(dict(where or {}), batch_size=size)
    yield from found


def raw_documents(connection: Connection, name: str, where: Where | None = None) -> Iterator[bytes]:
    for batch in raw_batches(connection, name, where):
        yield from split(batch)


def split(batch: bytes) -> Iterator[bytes]:
    """Yield the documents of a raw batch."""
    at = 0
    while at < len(batch):
        end = at + int.from_bytes(batch[at : at + 4], "little")
        yield batch[at:end]
        at = end
