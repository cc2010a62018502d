"""An index on a collection created."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lockstep.domain.errors import OperationError
from lockstep.domain.operations.base import OnCollection, WayBack, expect_kind
from lockstep.domain.resources import Collection

IndexKeys = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class CreateIndex(OnCollection):
    verb: ClassVar[str] = "create_index"
    collection: Collection
    keys: IndexKeys
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def way_back(self) -> WayBack:
        return WayBack.INVERSE

    @property
    def title(self) -> str:
        return f"create_index {self.collection.slug} {self.name}"

    def describe(self) -> str:
        keys = ", ".join(f"{name} {direction}" for name, direction in self.keys)
        unique = "unique " if self.options.get("unique") else ""
        return f"create {unique}index {self.name} ({keys}) on {self.collection}, unless it is there"


def index_keys(verb: str, keys: str | Sequence[str | tuple[str, Any]]) -> IndexKeys:
    """Return index keys as pairs of field and direction."""
    given = [keys] if isinstance(keys, str) else list(keys)
    pairs = tuple((key, 1) if isinstance(key, str) else (key[0], key[1]) for key in given)
    if not pairs:
        raise OperationError(f"ops.{verb}: an index needs at least one field.", verb=verb)
    return pairs


def index_name(keys: IndexKeys) -> str:
    """Return MongoDB's own name for an index on these keys."""
    return "_".join(f"{name}_{direction}" for name, direction in keys)


def create_index(
    collection: Collection,
    keys: str | Sequence[str | tuple[str, Any]],
    *,
    name: str | None = None,
    **options: Any,
) -> CreateIndex:
    """Create an index, unless the same is there; the way back removes it if this created it.

    `keys`: a field, or a list of fields or (field, direction) pairs. `options`: unique,
    partialFilterExpression and the others of MongoDB's createIndexes.
    """
    expect_kind("create_index", collection, Collection)
    pairs = index_keys("create_index", keys)
    return CreateIndex(collection, pairs, name or index_name(pairs), options)
