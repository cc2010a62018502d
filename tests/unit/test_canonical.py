"""Equal values have equal text, whichever store they came from."""

import uuid
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from lockstep.domain.canonical import canonical, content_hash

UTC = timezone.utc


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (5, 5.0),
        (5, Decimal("5.00")),
        (0.1, Decimal("0.1")),
        (-0.0, 0),
        (10**20, Decimal("1E+20")),
        (uuid.UUID(int=7), str(uuid.UUID(int=7))),
        (datetime(2026, 1, 2, 3, 4, 5, 678901, UTC), datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), datetime(2026, 1, 2, 11, tzinfo=timezone(timedelta(hours=8)))),
        (date(2026, 1, 2), "2026-01-02"),
        (b"\x00\xff", memoryview(b"\x00\xff")),
        ({"a": 1, "b": None}, {"a": 1}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ((1, 2), [1, 2]),
    ],
)
def test_the_same_value_from_two_stores_is_one(first: object, second: object) -> None:
    assert canonical(first) == canonical(second)
    assert content_hash(first) == content_hash(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, "1 "),
        (1, 2),
        ([1, 2], [2, 1]),
        ("", None),
        (True, 1),
        ({"a": {"b": 1}}, {"a": {"b": 2}}),
        (0.1, 0.2),
    ],
)
def test_different_values_differ(first: object, second: object) -> None:
    assert canonical(first) != canonical(second)
