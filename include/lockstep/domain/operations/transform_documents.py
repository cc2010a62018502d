"""Documents transformed by a Python function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lockstep.domain.operations.base import OnCollection, expect_function, expect_kind, function_name
from lockstep.domain.resources import Collection

DocumentFunction = Callable[[dict[str, Any]], Mapping[str, Any]]


@dataclass(frozen=True)
class TransformDocuments(OnCollection):
    verb: ClassVar[str] = "transform_documents"
    batched: ClassVar[bool] = True
    collection: Collection
    function: DocumentFunction
    where: Mapping[str, Any] | None = None

    def describe(self) -> str:
        where = f" where {dict(self.where)}" if self.where else ""
        return f"{function_name(self.function)}() over every document of {self.collection}{where}"


def transform_documents(
    collection: Collection, function: DocumentFunction, *, where: Mapping[str, Any] | None = None
) -> TransformDocuments:
    """Give each document to `function` as a dict and write what it returns, where that differs.

    The function must return the document, with the same `_id`. `where`: a MongoDB filter.
    The documents' former state is kept in the journal.
    """
    expect_kind("transform_documents", collection, Collection)
    expect_function("transform_documents", "function", function)
    return TransformDocuments(collection, function, where)
