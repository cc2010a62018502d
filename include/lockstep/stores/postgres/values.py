"""Python values on their way into columns, and whether two of them are the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from uuid import UUID

from psycopg.types.json import Json

from lockstep.domain.errors import RecordError
from lockstep.stores.postgres.shape import Column, Shape

_JSON = ("json", "jsonb")
#: types of which equal values are the same
_PLAIN = (str, int, bool, bytes, UUID, date, type(None))


def same(first: Any, second: Any) -> bool:
    """Whether two values are the same, so that 1, 1.0 and True differ, and Decimal 1.0 and 1.00 do."""
    if first is second:
        return True
    if type(first) is not type(second) or first != second:
        return False
    return type(first) in _PLAIN or repr(first) == repr(second)


def holds_json(column: Column) -> bool:
    """Whether a value of the column, or an item of it, is JSON."""
    return column.base in _JSON or column.element in _JSON


def adapted(column: Column, value: Any) -> Any:
    """Return a value as psycopg is to write it: what goes into jsonb, as JSON."""
    if value is None:
        return None
    if column.base in _JSON:
        return Json(value)
    if column.element in _JSON and isinstance(value, list):
        return _json_items(value)
    return value


def _json_items(values: list[Any]) -> list[Any]:
    return [
        item if item is None else _json_items(item) if isinstance(item, list) else Json(item)
        for item in values
    ]


def key_text(shape: Shape, row: Mapping[str, Any]) -> str:
    """Return a row's key for people."""
    return ", ".join(str(row.get(column.name)) for column in shape.key)


def fault(shape: Shape, row: Mapping[str, Any], problem: str, fix: str) -> RecordError:
    """Return the error that names the record."""
    return RecordError(resource=str(shape.table), key=key_text(shape, row), problem=problem, fix=fix)
