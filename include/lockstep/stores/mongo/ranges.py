"""Cut a collection into ranges of about as many documents, without reading it twice."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from lockstep.domain.progress import Cursor, KeyRange
from lockstep.domain.resources import Collection
from lockstep.stores.mongo.codec import keep, key_of, key_text
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.reading import Where, between, bounds_hold, exists

#: `_id`s sampled a shard: a shard's share of the documents then errs by 3 % (one standard deviation), and by
#: more than 20 % about never
SAMPLED = 1000
#: a server samples a twentieth or more of a collection by reading all of it, so a small one is walked instead
WALKED = 20

#: (place to cut at, about how many documents lie before it and after the cut before)
Cut = tuple[Cursor, int]


def plan_ranges(
    connection: Connection, collection: Collection, *, where: Where | None, shards: int, least: int
) -> list[KeyRange]:
    """Cut the `_id`s into at most `shards` ranges of at least `least` documents."""
    with connection.translate(f"cutting {collection} into ranges"):
        if not exists(connection, collection.name):
            return [KeyRange(estimate=0)]
        there = connection.collection(collection.name)
        wanted = dict(where or {})
        total = there.count_documents(wanted) if wanted else there.estimated_document_count()
        parts = max(1, min(shards, total // max(least, 1)))
        if parts == 1:
            return [KeyRange(estimate=total)]
        if wanted and not bounds_hold(connection, collection, wanted):
            wanted, total = {}, there.estimated_document_count()
        sampled = not wanted and connection.capabilities.samples and total > SAMPLED * parts * WALKED
        cuts = (
            _sampled(connection, collection, parts, total)
            if sampled
            else list(_walked(connection, collection, wanted, parts, total // parts))
        )
    return _ranges(cuts, total)


def _ranges(cuts: Sequence[Cut], total: int) -> list[KeyRange]:
    edges: list[Cursor | None] = [None, *(cut for cut, _ in cuts), None]
    sizes = [size for _, size in cuts]
    return [
        KeyRange(lower=lower, upper=upper, label=_label(lower, upper), estimate=size)
        for (lower, upper), size in zip(
            itertools.pairwise(edges), [*sizes, max(total - sum(sizes), 0)], strict=True
        )
    ]


def _walked(
    connection: Connection, collection: Collection, where: dict[str, Any], parts: int, size: int
) -> Iterator[Cut]:
    """Walk the index once and cut after each `size` documents."""
    lower: Cursor | None = None
    for _ in range(parts - 1):
        # The bound itself is counted again, so after the first cut the skip is one longer.
        skip = size - 1 if lower is None else size
        next_one = between(connection, collection, where, lower, None, limit=1, skip=skip, keys_only=True)
        if not next_one:
            return
        lower = key_text(keep(next_one[0])["_id"])
        yield lower, size


def _sampled(connection: Connection, collection: Collection, parts: int, total: int) -> list[Cut]:
    """Cut at quantiles of a sample, which the server puts into its own order."""
    places = sample(connection, collection.name, SAMPLED * parts)
    cuts: list[Cut] = []
    before = 0
    for part in range(1, parts):
        at = len(places) * part // parts
        # A server may draw a document twice, and what is drawn may be less than was asked for.
        if at and (not cuts or cuts[-1][0] != places[at - 1]):
            cuts.append((places[at - 1], round(total * (at - before) / len(places))))
            before = at
    return cuts


def sample(connection: Connection, name: str, size: int) -> list[Cursor]:
    """Return places drawn at random, in the server's order of `_id`."""
    drawn = connection.collection(name).aggregate(
        [{"$sample": {"size": size}}, {"$project": {"_id": 1}}, {"$sort": {"_id": 1}}], allowDiskUse=True
    )
    return [key_text(one["_id"]) for one in drawn]


def _label(lower: Cursor | None, upper: Cursor | None) -> str:
    shown = [None if edge is None else _short(edge) for edge in (lower, upper)]
    if shown[0] is None:
        return "all" if shown[1] is None else f"up to {shown[1]}"
    return f"after {shown[0]}" if shown[1] is None else f"{shown[0]} to {shown[1]}"


def _short(edge: Cursor) -> str:
    value = key_of(edge)
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
