"""The log that a person opens after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog


class TaskLog:
    """Write events with fields into the task's log, and fold groups of them.

    Groups go through the same logger as everything else: printed markers travel another channel and arrive
    out of order.
    """

    def __init__(self, name: str = "lockstep") -> None:
        self._logger = structlog.get_logger(name)

    def info(self, event: str, **fields: Any) -> None:
        self._logger.info(event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._logger.warning(event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        self._logger.error(event, **fields)

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        """Fold what is logged inside; closed also when it fails, so that the failure is not folded away."""
        self._logger.info(f"::group::{title}")
        try:
            yield
        finally:
            self._logger.info("::endgroup::")
