"""Records copied between any two kinds of resource."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import Operation, expect_function, expect_kind, function_name
from lockstep.domain.resources import Collection, Database, Prefix, Resource, Table

MapFunction = Callable[[Any], Any]


@dataclass(frozen=True)
class Copy(Operation):
    verb: ClassVar[str] = "copy"
    batched: ClassVar[bool] = True
    source: Resource
    target: Resource
    map: MapFunction | None = None
    where: Any = None

    @property
    def database(self) -> Database:
        return self.target.database

    @property
    def writes(self) -> tuple[Resource, ...]:
        return (self.target,)

    @property
    def reads(self) -> tuple[Resource, ...]:
        return (self.source,)

    @property
    def fits_in_transaction(self) -> bool:
        return isinstance(self.source, Table) and self.source.database == self.target.database

    @property
    def title(self) -> str:
        return f"copy {self.source.slug} to {self.target.slug}"

    def describe(self) -> str:
        by = f" by {function_name(self.map)}()" if self.map else ""
        return f"copy every record of {self.source} to {self.target}{by}"


def copy(source: Resource, target: Resource, *, map: MapFunction | None = None, where: Any = None) -> Copy:
    """Copy each record of `source` to `target`, by key: run twice, it writes once.

    `map`: a function from the source's record to the target's: a dict for a table or a collection, a
    StoredObject for a prefix. It may return None to leave a record out. Without it a table's key becomes
    `_id` and back, and a row or document becomes a JSON object named by its key; from objects to rows or
    documents there is no default.
    `where`: SQL condition or MongoDB filter on the source; a key suffix for objects.
    The way back removes what was inserted and puts back what was overwritten.
    """
    expect_kind("copy", source, Table, Collection, Prefix)
    expect_kind("copy", target, Table, Collection, Prefix)
    if source == target:
        raise OperationError(f"ops.copy: {source} cannot be copied onto itself.", verb="copy")
    if isinstance(source, Prefix) and isinstance(target, Prefix) and _overlap(source, target):
        raise OperationError(
            f"ops.copy: {source.name} and {target.name} lie inside one another, so a copy would be met again. "
            "Copy to a prefix beside them, and ops.move_objects from there.",
            verb="copy",
        )
    if map is not None:
        expect_function("copy", "map", map)
    elif isinstance(source, Prefix) and not isinstance(target, Prefix):
        raise OperationError(
            f"ops.copy from {source} to {target} needs map=, a function from a StoredObject to a "
            f"{'row' if isinstance(target, Table) else 'document'}.",
            verb="copy",
        )
    return Copy(source, target, map, where)


def _overlap(source: Prefix, target: Prefix) -> bool:
    inside = target.name.startswith(source.name) or source.name.startswith(target.name)
    return inside and source.database == target.database
