"""Give a process a wrong clock: the one on the wall, not the one that only counts seconds."""

from __future__ import annotations

import datetime
import time
from typing import Any


def shift(seconds: float) -> None:
    """Let `time.time()`, `datetime.now()` and their like be off by `seconds`, for all that is imported later."""
    if not seconds:
        return
    true_time, true_ns, true = time.time, time.time_ns, datetime.datetime
    off = datetime.timedelta(seconds=seconds)

    class _SameKind(type(true)):  # type: ignore[misc]
        """What drivers make is a datetime too."""

        def __instancecheck__(cls, value: Any) -> bool:
            return isinstance(value, true)

        def __subclasscheck__(cls, kind: type) -> bool:
            return issubclass(kind, true)

    class Shifted(true, metaclass=_SameKind):  # type: ignore[misc]
        def __new__(cls, *args: Any, **more: Any) -> Any:
            return true.__new__(true, *args, **more)

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return true.now(tz) + off

        @classmethod
        def utcnow(cls) -> Any:
            return true.now(datetime.timezone.utc).replace(tzinfo=None) + off

        @classmethod
        def today(cls) -> Any:
            return true.now() + off

    datetime.datetime = Shifted  # type: ignore[misc]
    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_ns() + int(seconds * 1e9)
