"""An index on a collection dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lockstep.domain.operations.base import OnCollection, WayBack, expect_kind
from lockstep.domain.operations.create_index import IndexKeys, index_keys
from lockstep.domain.resources import Collection


@dataclass(frozen=True)
class DropIndex(OnCollection):
    verb: ClassVar[str] = "drop_index"
    collection: Collection
    keys: IndexKeys

    @property
    def way_back(self) -> WayBack:
        return WayBack.INVERSE

    @property
    def title(self) -> str:
        return f"drop_index {self.collection.slug} {'_'.join(name for name, _ in self.keys)}"

    def describe(self) -> str:
        keys = ", ".join(f"{name} {direction}" for name, direction in self.keys)
        return f"drop the index ({keys}) of {self.collection}, if it is there"


def drop_index(collection: Collection, keys: str | Sequence[str | tuple[str, Any]]) -> DropIndex:
    """Drop the index on these keys, if it is there; the way back builds it again as it was."""
    expect_kind("drop_index", collection, Collection)
    return DropIndex(collection, index_keys("drop_index", keys))
