"""What a copy makes of a record when the revision gives no map of its own."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

from lockstep.domain.canonical import canonical
from lockstep.domain.objects import StoredObject
from lockstep.domain.resources import Collection, Prefix, Resource, Table


def default_map(
    record: Any, source: Resource, target: Resource, source_key: Sequence[str], target_key: Sequence[str]
) -> Any:
    """Return the target's record for a source's record of another kind, keyed alike."""
    if isinstance(source, Prefix):
        return record
    fields = dict(record)
    if isinstance(target, Prefix):
        return _as_object(fields, source, target, source_key)
    if isinstance(source, Table) and isinstance(target, Collection):
        return _as_document(fields, source_key)
    if isinstance(source, Collection) and isinstance(target, Table):
        return _as_row(fields, target_key)
    return fields


def _as_document(row: dict[str, Any], key: Sequence[str]) -> dict[str, Any]:
    """Move the key to `_id`; a composite key becomes a sub-document. Nulls are left out."""
    identity = row[key[0]] if len(key) == 1 else {column: row[column] for column in key}
    rest = {column: value for column, value in row.items() if column not in key and value is not None}
    return {"_id": identity, **rest}


def _as_row(document: dict[str, Any], key: Sequence[str]) -> dict[str, Any]:
    """Move `_id` to the key column; a sub-document `_id` fills a composite key."""
    identity = document.pop("_id")
    if len(key) > 1 and isinstance(identity, Mapping):
        return {**identity, **document}
    return {key[0]: identity, **document}


def _as_object(record: dict[str, Any], source: Resource, target: Prefix, key: Sequence[str]) -> StoredObject:
    names = ("_id",) if isinstance(source, Collection) else tuple(key)
    identity = "/".join(str(record[name]) for name in names)
    body = json.dumps(plain(record), sort_keys=True, ensure_ascii=False, indent=1).encode()
    return StoredObject(key=f"{target.name}{identity}.json", body=body, content_type="application/json")


def plain(value: Any) -> Any:
    """Return `value` as plain JSON data, numbers as numbers."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    if isinstance(value, Decimal) and value == value.to_integral_value() and value.is_finite():
        return int(value)
    return canonical(value)


def for_documents(value: Any) -> Any:
    """Return `value` as MongoDB can hold it: instants to the millisecond, other types as their text."""
    if isinstance(value, Mapping):
        return {name: for_documents(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [for_documents(item) for item in value]
    if isinstance(value, datetime):
        instant = value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)
        return instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    return value


def for_rows(value: Any) -> Any:
    """Return `value` as psycopg can hold it: what only BSON has, as its text or number."""
    if isinstance(value, Mapping):
        return {name: for_rows(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [for_rows(item) for item in value]
    if hasattr(value, "to_decimal"):
        return value.to_decimal()
    if type(value).__name__ == "ObjectId":
        return str(value)
    return value


def for_nested_rows(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row whose nested values are plain JSON, as jsonb wants them."""
    return {
        column: plain(value) if isinstance(value, Mapping) else for_rows(value)
        for column, value in row.items()
    }


def loses_time(value: Any) -> bool:
    """Whether an instant in it is finer than a millisecond."""
    if isinstance(value, Mapping):
        return any(loses_time(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(loses_time(item) for item in value)
    return isinstance(value, datetime) and bool(value.microsecond % 1000)
