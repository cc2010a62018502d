"""A Python function of the revision's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import (
    Operation,
    WayBack,
    expect_function,
    function_name,
)
from lockstep.domain.resources import KINDS, Database, Resource

HandsFunction = Callable[[Any], Any]


class NoReverse:
    """The author's word that a function cannot be taken back."""

    def __repr__(self) -> str:
        return "ops.NO_REVERSE"


NO_REVERSE: Final = NoReverse()


@dataclass(frozen=True)
class RunPython(Operation):
    verb: ClassVar[str] = "run_python"
    function: HandsFunction
    touches: tuple[Resource, ...]
    reverse: HandsFunction | NoReverse

    @property
    def database(self) -> Database:
        return self.touches[0].database

    @property
    def writes(self) -> tuple[Resource, ...]:
        return self.touches

    @property
    def fits_in_transaction(self) -> bool:
        return False

    @property
    def way_back(self) -> WayBack:
        return WayBack.NONE if isinstance(self.reverse, NoReverse) else WayBack.INVERSE

    @property
    def lossy(self) -> bool:
        return self.way_back is WayBack.NONE

    @property
    def title(self) -> str:
        return f"run_python {function_name(self.function)}"

    def describe(self) -> str:
        back = (
            "no way back"
            if isinstance(self.reverse, NoReverse)
            else f"back by {function_name(self.reverse)}()"
        )
        return f"{function_name(self.function)}() with {', '.join(map(str, self.touches))}; {back}"


def run_python(
    function: HandsFunction, *, touches: Sequence[Resource] | Resource, reverse: HandsFunction | NoReverse
) -> RunPython:
    """Call `function(hands)` once; `hands.open(resource)` gives the driver's own handle.

    That is a psycopg Connection (in a transaction that commits when the function returns), a pymongo
    Collection, or a boto3 S3 client with the bucket's name. A crash may run it again: make it idempotent.
    `touches`: the resources it changes. `reverse`: the function that takes it back, or ops.NO_REVERSE.
    """
    expect_function("run_python", "function", function)
    named = tuple(touches) if isinstance(touches, (list, tuple)) else (touches,)
    if not named or any(type(resource) not in KINDS for resource in named):
        raise OperationError(
            "ops.run_python: touches names the resources that the function changes, at least one.",
            verb="run_python",
        )
    if not isinstance(reverse, NoReverse):
        expect_function("run_python", "reverse", reverse)
    return RunPython(function, named, reverse)
