"""A collection's validator changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lockstep.domain.operations.base import OnCollection, WayBack, expect_kind
from lockstep.domain.resources import Collection


@dataclass(frozen=True)
class SetValidator(OnCollection):
    verb: ClassVar[str] = "set_validator"
    collection: Collection
    validator: Mapping[str, Any]

    @property
    def way_back(self) -> WayBack:
        return WayBack.INVERSE

    def describe(self) -> str:
        return (
            f"set the validator of {self.collection}"
            if self.validator
            else (f"take the validator off {self.collection}")
        )


def set_validator(collection: Collection, validator: Mapping[str, Any] | None) -> SetValidator:
    """Set a collection's validator; None takes it off. The way back sets the former one.

    A server that keeps no validators is named in the log, and the operation does nothing there.
    """
    expect_kind("set_validator", collection, Collection)
    return SetValidator(collection, dict(validator or {}))
