"""Read objects several at a time: a bucket answers slowly and many at once."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from lockstep.domain.objects import StoredObject
from lockstep.engine.ports import ObjectStore

#: requests under way at once
AT_ONCE = 8


def bodies(store: ObjectStore, keys: Sequence[str]) -> list[StoredObject]:
    """Return the objects with these keys, in their order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(store.get, keys))
