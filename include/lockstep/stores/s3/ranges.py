"""Cut a prefix into ranges of about as many objects, from one listing of its keys."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable

from lockstep.domain.progress import KeyRange
from lockstep.domain.resources import Prefix
from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.reading import cursor_of, keys

#: keys kept to cut from: of so many, all of them, and of more, a sample drawn evenly. A shard's share then errs
#: by less than 2 % up to 20 shards (one standard deviation).
KEPT = 100_000


def plan_ranges(
    connection: Connection, prefix: Prefix, *, suffix: str, shards: int, least: int
) -> list[KeyRange]:
    """Cut the keys into at most `shards` ranges of at least `least` objects."""
    with connection.translate(f"cutting {prefix} into ranges"):
        named = (key for key in keys(connection, prefix.name) if key.endswith(suffix))
        kept, total = sampled(named, KEPT)
    parts = max(1, min(shards, total // max(least, 1), len(kept)))
    places = [len(kept) * part // parts for part in range(parts + 1)]
    edges: list[str | None] = [None, *(kept[place - 1] for place in places[1:-1]), None]
    return [
        KeyRange(
            lower=None if lower is None else cursor_of(lower),
            upper=None if upper is None else cursor_of(upper),
            label=_label(prefix.name, lower, upper),
            estimate=round(total * (end - start) / max(len(kept), 1)),
        )
        for (lower, upper), (start, end) in zip(
            itertools.pairwise(edges), itertools.pairwise(places), strict=True
        )
    ]


def sampled(given: Iterable[str], most: int) -> tuple[list[str], int]:
    """Return at most so many keys, each as likely as the next, in the order given, and the number of all."""
    drawn = random.Random(0)  # noqa: S311
    kept: list[tuple[int, str]] = []
    total = 0
    for key in given:
        total += 1
        if len(kept) < most:
            kept.append((total, key))
        elif (place := drawn.randrange(total)) < most:
            kept[place] = (total, key)
    return [key for _, key in sorted(kept)], total


def _label(prefix: str, lower: str | None, upper: str | None) -> str:
    low, high = (None if key is None else _short(key[len(prefix) :]) for key in (lower, upper))
    if low is None:
        return "all" if high is None else f"up to {high}"
    return f"after {low}" if high is None else f"{low} to {high}"


def _short(key: str) -> str:
    return key if len(key) <= 40 else f"{key[:39]}…"
