"""Compute the next batch in a thread while the one before is written."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from copy import copy
from types import TracebackType
from typing import Any

from lockstep.domain.progress import Progress
from lockstep.engine.context import StepContext

#: (context, progress before) → what one batch needs
Prepare = Callable[[StepContext, Progress], Any]


class Ahead:
    """One batch ahead, never more: memory holds two batches at the most.

    What was prepared counts only while nothing has changed that it depends on: how far the shard is, and the
    records left out. The size may be that of a batch earlier.
    """

    def __init__(self, context: StepContext, prepare: Prepare, overlaps: bool) -> None:
        self._context = context
        self._prepare = prepare
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="lockstep-ahead") if overlaps else None
        self._next: Future[Any] | None = None
        self._for: tuple[Any, ...] = ()

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, progress: Progress) -> Any:
        """Return the batch after `progress`, prepared before or now; raise what preparing it raised."""
        waiting, self._next = self._next, None
        if waiting is not None and self._for == self._key(progress):
            return waiting.result()
        if waiting is not None and not waiting.cancel():
            waiting.exception()  # let it end: memory holds two batches at the most
        return self._prepare(self._context, progress)

    def start(self, progress: Progress) -> None:
        """Begin to prepare the batch after `progress`, which is about to be written."""
        if self._pool is None or progress.done:
            return
        self._for = self._key(progress)
        # A copy: the size and what is left out may change while this is under way.
        self._next = self._pool.submit(self._prepare, copy(self._context), progress)

    def _key(self, progress: Progress) -> tuple[Any, ...]:
        return (progress, self._context.excluding)
