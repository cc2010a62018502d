"""The log that a person opens after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

#: names that Airflow's supervisor passes on as arguments of its own: a field of that name ends it, and the task
_TAKEN = frozenset({"target", "level", "msg", "event", "timestamp"})


class TaskLog:
    """Write events with fields into the task's log, and fold groups of them.

    Groups go through the same logger as everything else: printed markers travel another channel and arrive
    out of order.
    """

    def __init__(self, name: str = "lockstep") -> None:
        self._logger = structlog.get_logger(name)

    def info(self, event: str, **fields: Any) -> None:
        self._logger.info(event, **_passable(fields))

    def warning(self, event: str, **fields: Any) -> None:
        self._logger.warning(event, **_passable(fields))

    def error(self, event: str, **fields: Any) -> None:
        self._logger.error(event, **_passable(fields))

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Fold what is logged inside; closed also when it fails, so that the failure is not folded away."""
        self._logger.info(f"::group::{title}")
        try:
            yield
        finally:
            self._logger.info("::endgroup::")


def _passable(fields: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}_" if name in _TAKEN else name: value for name, value in fields.items()}
