"""What a revision promises of the data after its upgrade: declared in verify(), checked by reading again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import expect_function, expect_kind, function_name
from lockstep.domain.resources import KINDS, Collection, Prefix, Resource, Table


@dataclass(frozen=True)
class ExpectNone:
    resource: Resource
    where: Any

    @property
    def resources(self) -> tuple[Resource, ...]:
        return (self.resource,)

    def describe(self) -> str:
        return f"no record of {self.resource} where {self.where}"


@dataclass(frozen=True)
class ExpectCount:
    resource: Resource
    count: int
    where: Any = None

    @property
    def resources(self) -> tuple[Resource, ...]:
        return (self.resource,)

    def describe(self) -> str:
        condition = f" where {self.where}" if self.where is not None else ""
        return f"{self.count} record(s) in {self.resource}{condition}"


@dataclass(frozen=True)
class ExpectSameCount:
    first: Resource
    second: Resource

    @property
    def resources(self) -> tuple[Resource, ...]:
        return (self.first, self.second)

    def describe(self) -> str:
        return f"as many records in {self.first} as in {self.second}"


@dataclass(frozen=True)
class Check:
    function: Callable[..., Any]
    touches: tuple[Resource, ...]

    @property
    def resources(self) -> tuple[Resource, ...]:
        return self.touches

    def describe(self) -> str:
        return f"{function_name(self.function)}() finds nothing wrong"


Expectation = ExpectNone | ExpectCount | ExpectSameCount | Check
EXPECTATIONS = (ExpectNone, ExpectCount, ExpectSameCount, Check)


def expect_none(resource: Resource, *, where: Any) -> ExpectNone:
    """Expect that no record of `resource` matches.

    `where`: an SQL condition for a table, a filter for a collection, a key suffix for a prefix.
    """
    expect_kind("expect_none", resource, Table, Collection, Prefix)
    _check_where("expect_none", resource, where)
    return ExpectNone(resource, where)


def expect_count(resource: Resource, count: int, *, where: Any = None) -> ExpectCount:
    """Expect exactly `count` records of `resource`, of those that match `where`."""
    expect_kind("expect_count", resource, Table, Collection, Prefix)
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise OperationError(f"ops.expect_count: count is a whole number of records, got {count!r}.")
    if where is not None:
        _check_where("expect_count", resource, where)
    return ExpectCount(resource, count, where)


def expect_same_count(first: Resource, second: Resource) -> ExpectSameCount:
    """Expect as many records in `first` as in `second`, whatever their kinds."""
    expect_kind("expect_same_count", first, Table, Collection, Prefix)
    expect_kind("expect_same_count", second, Table, Collection, Prefix)
    return ExpectSameCount(first, second)


def check(function: Callable[[Any], Any], *, touches: Sequence[Resource] | Resource) -> Check:
    """Expect `function(hands)` to return None or True; a string it returns is what is wrong.

    `hands.open(resource)` gives the driver's own handle, as in ops.run_python. It should only read.
    """
    expect_function("check", "function", function)
    named = tuple(touches) if isinstance(touches, (list, tuple)) else (touches,)
    if not named or any(type(resource) not in KINDS for resource in named):
        raise OperationError("ops.check: touches names the resources that the function reads, at least one.")
    return Check(function, named)


def _check_where(verb: str, resource: Resource, where: Any) -> None:
    wanted, shape = (
        (str, "an SQL condition, as a string")
        if isinstance(resource, Table)
        else (dict, "a MongoDB filter, as a dict")
        if isinstance(resource, Collection)
        else (str, "a key suffix, as a string")
    )
    if not isinstance(where, wanted):
        raise OperationError(f"ops.{verb}({resource}): where must be {shape}, got {where!r}.", verb=verb)
