"""Documents updated by the server's own update operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import OnCollection, expect_kind
from lockstep.domain.resources import Collection


@dataclass(frozen=True)
class UpdateDocuments(OnCollection):
    verb: ClassVar[str] = "update_documents"
    batched: ClassVar[bool] = True
    collection: Collection
    update: Mapping[str, Any]
    where: Mapping[str, Any] | None = None

    def describe(self) -> str:
        where = f" where {dict(self.where)}" if self.where else ""
        return f"update {self.collection} by {dict(self.update)}{where}"


def update_documents(
    collection: Collection, update: Mapping[str, Any], *, where: Mapping[str, Any] | None = None
) -> UpdateDocuments:
    """Apply update operators (`$set`, `$unset`, `$inc`, `$rename`, …) to documents, in batches by `_id`.

    `where`: a MongoDB filter. The documents' former state is kept in the journal.
    """
    expect_kind("update_documents", collection, Collection)
    if not isinstance(update, Mapping) or not update or not all(str(k).startswith("$") for k in update):
        raise OperationError(
            f"ops.update_documents: update maps update operators, such as {{'$set': {{...}}}}; "
            f"got {update!r}. "
            "For a change that needs Python, use ops.transform_documents.",
            verb="update_documents",
        )
    return UpdateDocuments(collection, update, where)
