"""Read the next rows and compute what becomes of them, in a thread, while the batch before is written."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from lockstep.domain.errors import BadRecords, RecordError
from lockstep.domain.operations.transform_rows import RowFunction
from lockstep.domain.progress import Cursor, KeyRange
from lockstep.domain.quarantine import Quarantined
from lockstep.domain.resources import Table
from lockstep.engine.context import StepContext
from lockstep.engine.functions import call_rows
from lockstep.engine.ports import TableReader, TableStore, TableUnit

#: objects that are made before the collector of cycles looks
COLLECT_AFTER = 50_000

Row = dict[str, Any]
Pair = tuple[Row, Row]


@dataclass(frozen=True, kw_only=True)
class Transforming:
    """What becomes of which rows."""

    table: Table
    function: RowFunction
    columns: Sequence[str] | None
    where: str | None
    within: KeyRange


@dataclass(frozen=True, kw_only=True)
class Made:
    """Rows read without a lock, and what is to become of them."""

    pairs: list[Pair]
    stamps: Sequence[str]
    #: rows that the function fails on, and why
    failed: list[tuple[Row, RecordError]]
    #: `pairs`, as the store wants them
    packed: Any
    #: rows read
    read: int
    cursor: Cursor | None
    last: bool


class RowsAhead:
    """One page ahead, never more: memory holds two at the most.

    A page counts only for the place and the records left out that it was read for. Whether its rows still are
    what they were is for the write to find out.
    """

    def __init__(self, store: TableStore, work: Transforming) -> None:
        self._store = store
        self._work = work
        self._open = ExitStack()
        self._next: Future[Made] | None = None
        self._for: tuple[Any, ...] = ()

    def __enter__(self) -> RowsAhead:
        self._key = self._store.keys_of(self._work.table)
        with ExitStack() as opened:
            opened.enter_context(_fewer_collections())
            pool = ThreadPoolExecutor(1, thread_name_prefix="lockstep-ahead")
            opened.callback(pool.shutdown, wait=True, cancel_futures=True)
            # Closed first: that cancels what the thread waits for.
            self._reader: TableReader = opened.enter_context(self._store.reader())
            self._pool = pool
            self._open = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def take(self, context: StepContext, after: Cursor | None, unit: TableUnit) -> Made:
        """Return the next page, of the context's limit at most, read before or now; raise what that raised."""
        waiting, self._next = self._next, None
        if waiting is not None and self._for == (after, context.excluding):
            page = waiting.result()
            if page.read <= context.limit:
                return page
            return self._cut(page, context.limit, unit)
        if waiting is not None and not waiting.cancel():
            waiting.exception()  # let it end: memory holds two pages at the most
        return self._made(after, context.limit, context.excluding)

    def start(self, context: StepContext, after: Cursor | None) -> None:
        """Begin to read the page after a place, which is about to be reached."""
        self._for = (after, context.excluding)
        self._next = self._pool.submit(self._made, after, context.limit, context.excluding)

    def _made(self, after: Cursor | None, limit: int, excluding: tuple[Cursor, ...]) -> Made:
        work = self._work
        page = self._reader.page(
            work.table,
            columns=work.columns,
            where=work.where,
            within=work.within,
            after=after,
            limit=limit,
            excluding=excluding,
        )
        pairs, failed = call_rows(work.function, page.records, self._key, str(work.table))
        return Made(
            pairs=pairs,
            stamps=page.stamps,
            failed=failed,
            packed=None if failed else self._reader.pack(work.table, pairs, page.stamps),
            read=len(page.records),
            cursor=page.cursor,
            last=page.last,
        )

    def _cut(self, page: Made, limit: int, unit: TableUnit) -> Made:
        """Return the beginning of a page that was read when batches were larger."""
        if page.failed:
            # Which of the rows come first is not known any more.
            return page
        pairs, stamps = page.pairs[:limit], page.stamps[:limit]
        return Made(
            pairs=pairs,
            stamps=stamps,
            failed=[],
            packed=self._reader.pack(self._work.table, pairs, stamps),
            read=limit,
            cursor=unit.cursor_of(self._work.table, pairs[-1][0]),
            last=False,
        )


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Let the collector of cycles look less often: a page is many objects that no cycle holds.

    What was there before is not looked at meanwhile. A function that does make cycles has them collected all
    the same, after so many objects.
    """
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def refuse(failed: Sequence[tuple[Row, RecordError]], unit: TableUnit, table: Table) -> None:
    """Raise BadRecords for the rows that a function failed on, if there are any."""
    if not failed:
        return
    raise BadRecords(
        resource=str(table),
        records=tuple(
            Quarantined(
                key=unit.cursor_of(table, row),
                shown=repr(problem.key),
                error=f"{problem.problem} Fix: {problem.fields['fix']}",
            )
            for row, problem in failed
        ),
    ) from failed[0][1]
