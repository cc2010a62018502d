"""Objects' content type, metadata and tags changed, bodies unread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from lockstep.domain.objects import ObjectInfo
from lockstep.domain.operations.base import OnPrefix, expect_function, expect_kind, function_name
from lockstep.domain.resources import Prefix

InfoFunction = Callable[[ObjectInfo], ObjectInfo]


@dataclass(frozen=True)
class UpdateMetadata(OnPrefix):
    verb: ClassVar[str] = "update_metadata"
    batched: ClassVar[bool] = True
    prefix: Prefix
    function: InfoFunction
    suffix: str = ""

    def describe(self) -> str:
        ending = f" whose key ends in {self.suffix!r}" if self.suffix else ""
        return f"{function_name(self.function)}() over the metadata of every object of {self.prefix}{ending}"


def update_metadata(prefix: Prefix, function: InfoFunction, *, suffix: str = "") -> UpdateMetadata:
    """Give each object's ObjectInfo to `function` and write the content type, metadata and tags it returns.

    Bodies are not read and not sent: the server copies them onto themselves.
    `suffix`: only keys that end so. The former values are kept in the journal.
    """
    expect_kind("update_metadata", prefix, Prefix)
    expect_function("update_metadata", "function", function)
    return UpdateMetadata(prefix, function, suffix)
