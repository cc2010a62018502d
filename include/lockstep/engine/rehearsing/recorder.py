"""A log that also keeps what was said, and how long each group of it lasted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lockstep.engine.services import Log

#: lines that are kept of one task
MOST = 400


@dataclass(kw_only=True)
class Recorder:
    """A Log that passes everything on."""

    log: Log
    clock: Callable[[], float] = time.monotonic
    lines: list[str] = field(default_factory=list)
    #: title and seconds of each group that has ended
    groups: list[tuple[str, float]] = field(default_factory=list)

    def info(self, event: str, **fields: Any) -> None:
        self._keep(event)
        self.log.info(event, **fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._keep(event)
        self.log.warning(event, **fields)

    def error(self, event: str, **fields: Any) -> None:
        self._keep(event)
        self.log.error(event, **fields)

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        began = self.clock()
        with self.log.group(title):
            yield
        self.groups.append((title, self.clock() - began))

    def _keep(self, event: str) -> None:
        if len(self.lines) < MOST:
            self.lines.append(event)
