"""Compare a document field by field, for servers that cannot compare it as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def by_field(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a filter that names the `_id` and what each plain field was; fields that `after` gains are missing."""
    document_id = before["_id"]
    # A document there would be read as operators.
    conditions: dict[str, Any] = {
        "_id": {"$eq": document_id} if isinstance(document_id, Mapping) else document_id
    }
    for name, value in before.items():
        if name != "_id" and addressable(name):
            conditions[name] = {"$eq": value}
    for name in after or ():
        if name not in before and addressable(name):
            conditions[name] = {"$exists": False}
    return conditions


def addressable(name: str) -> bool:
    """Whether a filter can name the field."""
    return bool(name) and "." not in name and not name.startswith("$")
