"""A collection dropped, that is parked until housekeeping removes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.operations.base import OnCollection, WayBack, expect_kind
from lockstep.domain.resources import Collection


@dataclass(frozen=True)
class DropCollection(OnCollection):
    verb: ClassVar[str] = "drop_collection"
    collection: Collection

    @property
    def way_back(self) -> WayBack:
        return WayBack.PARKED

    def describe(self) -> str:
        return f"park {self.collection}, with its documents and indexes, under a reserved name"


def drop_collection(collection: Collection) -> DropCollection:
    """Take a collection out of use: it is renamed, and `ops.restore(collection)` takes it back."""
    expect_kind("drop_collection", collection, Collection)
    return DropCollection(collection)
