"""Objects transformed, content and metadata, by a Python function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.objects import StoredObject
from lockstep.domain.operations.base import OnPrefix, expect_function, expect_kind, function_name
from lockstep.domain.resources import Prefix

ObjectFunction = Callable[[StoredObject], StoredObject]


@dataclass(frozen=True)
class TransformObjects(OnPrefix):
    verb: ClassVar[str] = "transform_objects"
    batched: ClassVar[bool] = True
    prefix: Prefix
    function: ObjectFunction
    suffix: str = ""

    def describe(self) -> str:
        ending = f" whose key ends in {self.suffix!r}" if self.suffix else ""
        return f"{function_name(self.function)}() over every object of {self.prefix}{ending}"


def transform_objects(prefix: Prefix, function: ObjectFunction, *, suffix: str = "") -> TransformObjects:
    """Give each object to `function` as a StoredObject and write what it returns, where that differs.

    The function must return a StoredObject with the same key (see ops.move_objects for another).
    `suffix`: only keys that end so. The objects' former state is kept in the journal.
    """
    expect_kind("transform_objects", prefix, Prefix)
    expect_function("transform_objects", "function", function)
    return TransformObjects(prefix, function, suffix)
