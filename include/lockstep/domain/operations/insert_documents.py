"""Reference documents, inserted by key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import OnCollection, expect_kind
from lockstep.domain.resources import Collection


@dataclass(frozen=True)
class InsertDocuments(OnCollection):
    verb: ClassVar[str] = "insert_documents"
    collection: Collection
    documents: tuple[Mapping[str, Any], ...]

    def describe(self) -> str:
        return (
            f"insert {len(self.documents)} document(s) by _id into {self.collection}, where they are missing"
        )


def insert_documents(collection: Collection, documents: Iterable[Mapping[str, Any]]) -> InsertDocuments:
    """Insert documents whose `_id` is not there yet; documents that are there stay as they are.

    The way back removes the documents that it inserted, and only those.
    """
    expect_kind("insert_documents", collection, Collection)
    given = tuple(documents)
    for document in given:
        if not isinstance(document, Mapping) or document.get("_id") is None:
            raise OperationError(
                f"ops.insert_documents({collection.slug}): each document is a mapping with an _id, "
                f"got {document!r}.",
                verb="insert_documents",
            )
    return InsertDocuments(collection, tuple(dict(document) for document in given))
