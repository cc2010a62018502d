"""One text for equal records, whichever store they came from.

Stores differ in how they hold the same value (a uuid or its text, numeric or double, microseconds or
milliseconds): here equal values have equal text, so that a copy can be compared with its source.
"""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any


def canonical(value: Any) -> Any:
    """Return `value` as JSON data: mappings sorted, nulls left out of them, numbers and times normal."""
    if isinstance(value, Mapping):
        return {
            str(k): canonical(v) for k, v in sorted(value.items(), key=lambda kv: str(kv[0])) if v is not None
        }
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if hasattr(value, "to_decimal"):  # bson.Decimal128
        value = value.to_decimal()
    if isinstance(value, (int, float, Decimal)):
        return _number(value)
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return _number(Decimal(str(value.total_seconds())))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, uuid.UUID):
        return str(value)
    return str(value)


def _number(value: int | float | Decimal) -> str:
    """Return a number as the shortest decimal text: 5, 5.0 and Decimal('5.00') are one number."""
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not exact.is_finite():
        return str(exact)
    text = format(exact.normalize(), "f")
    return "0" if text in ("-0", "0") else text


def _instant(value: datetime) -> str:
    """Return an instant in UTC to the millisecond, the finest that every store keeps."""
    instant = value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03}Z"


def content_hash(record: Any) -> int:
    """Return a 128-bit hash of a record; sums of them do not depend on the order of records."""
    text = json.dumps(canonical(record), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


def combined(hashes: int) -> str:
    """Return a sum of content hashes as hexadecimal text."""
    return f"{hashes % (1 << 128):032x}"
