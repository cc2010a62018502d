"""The objects of a prefix dropped, that is moved under a reserved prefix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.operations.base import OnPrefix, WayBack, expect_kind
from lockstep.domain.resources import Prefix


@dataclass(frozen=True)
class DropObjects(OnPrefix):
    verb: ClassVar[str] = "drop_objects"
    batched: ClassVar[bool] = True
    prefix: Prefix

    @property
    def way_back(self) -> WayBack:
        return WayBack.PARKED

    def describe(self) -> str:
        return f"park every object of {self.prefix} under a reserved prefix"


def drop_objects(prefix: Prefix) -> DropObjects:
    """Take a prefix's objects out of use: they are moved, and `ops.restore(prefix)` takes them back."""
    expect_kind("drop_objects", prefix, Prefix)
    return DropObjects(prefix)
