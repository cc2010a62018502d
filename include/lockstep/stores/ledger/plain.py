"""Values as the ledger keeps them: plain JSON, and text that PostgreSQL takes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Set
from datetime import date, datetime, timezone
from enum import Enum
from typing import Any

#: characters of an error that are kept
ERROR_LENGTH = 20_000


def plain(value: Any) -> Any:
    """Return a value as plain JSON: ISO 8601 for times, text for what JSON does not know."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, (date, datetime)):
        return iso(value)
    if isinstance(value, Mapping):
        return {text(str(plain(name))): plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, Set):
        return sorted((plain(inner) for inner in value), key=dumps)
    return text(str(value))


def dumps(value: Any) -> str:
    """Return JSON text of a value, the same text for the same value."""
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def text(value: str) -> str:
    """Return text without what PostgreSQL cannot hold: NUL and lone surrogates are written out."""
    return value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")


def error_text(value: str | None) -> str | None:
    """Return an error as it is kept: its beginning, and how much was cut."""
    if value is None:
        return None
    cut = len(value) - ERROR_LENGTH
    return text(value if cut <= 0 else f"{value[:ERROR_LENGTH]}… ({cut} more characters)")


def iso(value: date | datetime) -> str:
    """Return a time as ISO 8601 in UTC; a naive one is taken to be UTC."""
    if not isinstance(value, datetime):
        return value.isoformat()
    return utc(value).isoformat()


def utc(value: datetime) -> datetime:
    """Return a time in UTC; a naive one is taken to be UTC."""
    return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
