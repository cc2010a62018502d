"""A collection created."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lockstep.domain.operations.base import OnCollection, WayBack, expect_kind
from lockstep.domain.resources import Collection


@dataclass(frozen=True)
class CreateCollection(OnCollection):
    verb: ClassVar[str] = "create_collection"
    collection: Collection
    validator: Mapping[str, Any] | None = None

    @property
    def way_back(self) -> WayBack:
        return WayBack.INVERSE

    def describe(self) -> str:
        return f"create {self.collection}, unless it is there"


def create_collection(
    collection: Collection, *, validator: Mapping[str, Any] | None = None
) -> CreateCollection:
    """Create a collection, unless it is there; the way back removes it if this created it.

    `validator`: a MongoDB validator document, set when the collection is created.
    """
    expect_kind("create_collection", collection, Collection)
    return CreateCollection(collection, validator)
