"""Objects moved to other keys of the same bucket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import Operation, expect_function, expect_kind, function_name
from lockstep.domain.resources import Bucket, Prefix

KeyFunction = Callable[[str], str]


@dataclass(frozen=True)
class MoveObjects(Operation):
    verb: ClassVar[str] = "move_objects"
    batched: ClassVar[bool] = True
    prefix: Prefix
    to: Prefix
    rename: KeyFunction | None = None

    @property
    def database(self) -> Bucket:
        return self.prefix.database

    @property
    def writes(self) -> tuple[Prefix, ...]:
        return (self.prefix, self.to) if self.to != self.prefix else (self.prefix,)

    def describe(self) -> str:
        by = f" by {function_name(self.rename)}()" if self.rename else ""
        return f"move every object of {self.prefix} to {self.to.name}{by}"


def move_objects(prefix: Prefix, to: Prefix, *, rename: KeyFunction | None = None) -> MoveObjects:
    """Move each object of `prefix` below `to`, in the same bucket, by server-side copies.

    `rename`: the rest of the key after `prefix` → the rest after `to`; without it the rest stays. From a prefix to
    itself, where a moved object may be met again, it must leave what it has renamed as it is.
    Two objects that would land on one key, or on one that exists, stop the run before anything moves there.
    The way back moves them home.
    """
    expect_kind("move_objects", prefix, Prefix)
    expect_kind("move_objects", to, Prefix)
    if prefix.database != to.database:
        raise OperationError(
            f"ops.move_objects stays in one bucket; {prefix} and {to} live in two. Use ops.copy.",
            verb="move_objects",
        )
    if rename is not None:
        expect_function("move_objects", "rename", rename)
    elif prefix == to:
        raise OperationError(
            "ops.move_objects: from a prefix to itself needs rename=, a function of the key.",
            verb="move_objects",
        )
    if prefix != to and (to.name.startswith(prefix.name) or prefix.name.startswith(to.name)):
        raise OperationError(
            f"ops.move_objects: {prefix.name} and {to.name} lie inside one another, so a moved object "
            "would be met again. Move through a third prefix, or from the outer prefix to itself with a rename= that "
            "leaves what it has renamed as it is.",
            verb="move_objects",
        )
    return MoveObjects(prefix, to, rename)
