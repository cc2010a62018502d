"""Say of a value which kind it is, where a server keeps or addresses some kinds only."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS

from lockstep.domain.errors import Unsupported


def kind_of_id(value: Any) -> str:
    """Return the kind of an `_id`, in the words of capabilities.IDS."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float, Decimal128)):
        return "number"
    if isinstance(value, ObjectId):
        return "objectId"
    if isinstance(value, (datetime, DatetimeMS)):
        return "date"
    if isinstance(value, (bytes, UUID)):
        return "binary"
    return "document" if isinstance(value, Mapping) else type(value).__name__


_BY_TYPE: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (Decimal128, "decimal128"),
    (Regex, "regex"),
    (Timestamp, "timestamp"),
    ((MinKey, MaxKey), "key bound"),
    (Code, "code"),
    (ObjectId, "objectId"),
    (DatetimeMS, "far date"),
    (datetime, "date"),
    (UUID, "binary subtype"),
)


def _kind_of_value(value: Any) -> str | None:
    if isinstance(value, Int64):
        # A long that needs its length is not taken for a shorter number.
        return "int64" if -(2**31) <= value < 2**31 else None
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinity"
    if isinstance(value, Binary):
        return "binary subtype" if value.subtype else None
    return next((kind for types, kind in _BY_TYPE if isinstance(value, types)), None)


def _values(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, held in value.items():
            yield from _values(held, f"{path}.{name}" if path else str(name))
    elif isinstance(value, (list, tuple)):
        for position, held in enumerate(value):
            yield from _values(held, f"{path}.{position}")
    else:
        yield path, value


#: type of value → its kind, where the type alone says it
_KINDS: dict[type, str] = {
    str: "string",
    bool: "bool",
    type(None): "null",
    bytes: "bytes",
    datetime: "date",
    ObjectId: "objectId",
    dict: "dict",
    list: "list",
}


def _comparable(value: Any) -> str:
    kind = _KINDS.get(type(value)) or _kind_of_value(value)
    if kind is not None:
        return kind
    for types, name in ((str, "string"), (Int64, "int64"), (float, "double"), (bytes, "bytes")):
        if isinstance(value, types):
            return name
    # A Python int is sent as the shorter of the two that holds it.
    if isinstance(value, int):
        return "int" if -(2**31) <= value < 2**31 else "int64"
    return type(value).__name__


def comparable(document: Mapping[str, Any], kinds: Collection[str]) -> bool:
    """Whether all values of a document are of these kinds, of those that capabilities.PAIRS names."""
    return not any(_comparable(value) not in kinds for name, value in document.items() if name != "_id")


#: type of value → its kind, where the type says it; None: of no kind that a server was seen to lose
_SAYING: dict[type, str | None] = {
    str: None,
    int: None,
    bool: None,
    type(None): None,
    bytes: None,
    datetime: "date",
    ObjectId: "objectId",
}


@lru_cache
def _kept_types(loses: frozenset[str]) -> frozenset[type]:
    """Return types of which the server keeps every value."""
    return frozenset(held for held, kind in _SAYING.items() if kind not in loses)


def _is_kept(value: Any, kept: Collection[type]) -> bool:
    """Whether a value holds nothing but what is kept; several times as fast as to name the kind of each."""
    kind = type(value)
    if kind in kept:
        return True
    if kind is list or isinstance(value, dict):
        # A plain loop: this runs over every value that is written.
        for held in value if kind is list else value.values():
            if type(held) not in kept and not _is_kept(held, kept):
                return False
        return True
    return kind is float and math.isfinite(value)


def refuse_lost(document: Mapping[str, Any], loses: frozenset[str], *, where: str, key: str) -> None:
    """Raise Unsupported, naming record and field, for a value that the server would not keep as it is."""
    if not loses or _is_kept(document, _kept_types(loses)):
        return
    for path, value in _values(document, ""):
        kind = None if path == "_id" else _kind_of_value(value)
        if kind in loses:
            raise Unsupported(
                f"{where}, document {key}, field {path!r}: this server does not keep values of the kind "
                f"{kind!r} as they are. Write another kind of value, or use a server that keeps it.",
                key=key,
                field=path,
                kind=kind,
            )
