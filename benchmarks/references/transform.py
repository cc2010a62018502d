"""Filling a column by Python: what people write first, and what they write when it has to be fast."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any

import psycopg

Row = tuple[str, str, str]
Pair = tuple[str, str]

#: The next rows by key, with the columns that are needed and no other.
PAGE = "SELECT id, first_name, last_name FROM people WHERE id > %s ORDER BY id LIMIT %s"

#: Where a batch's results arrive; emptied by each commit.
STAGE = "CREATE TEMPORARY TABLE stage (id text, display_name text) ON COMMIT DELETE ROWS"
FILL = "COPY stage (id, display_name) FROM STDIN"

#: Write them back. The bounds keep the planner, which knows nothing of the stage, from reading the whole table.
WRITE = """
UPDATE people AS p SET display_name = s.display_name FROM stage AS s
WHERE p.id = s.id AND p.id >= %s AND p.id <= %s
"""

#: What a first version reads, and writes.
ALL_COLUMNS = "SELECT * FROM people ORDER BY id LIMIT %s"
ONE_ROW = "UPDATE people SET display_name = %s WHERE id = %s"

#: Rows of a batch.
ROWS = 10_000
#: Batches that may wait to be written while the next one is read.
WAITING = 2


def display_name(first_name: str, last_name: str) -> str:
    return f"{first_name} {last_name.upper()}"


def copy_loop(uri: str) -> int:
    """Read a batch while the one before is copied in and written back; return rows."""
    batches: queue.Queue[Sequence[Pair] | None] = queue.Queue(maxsize=WAITING)
    failed: list[BaseException] = []
    writer = threading.Thread(target=_write, args=(uri, batches, failed), daemon=True)
    writer.start()
    rows = 0
    with psycopg.connect(uri, autocommit=True) as conn:
        after = ""
        while not failed:
            page: list[Row] = conn.execute(PAGE, [after, ROWS]).fetchall()
            if not page:
                break
            batches.put([(key, display_name(first, last)) for key, first, last in page])
            rows += len(page)
            after = page[-1][0]
    batches.put(None)
    writer.join()
    if failed:
        raise failed[0]
    return rows


def _write(uri: str, batches: queue.Queue[Sequence[Pair] | None], failed: list[BaseException]) -> None:
    try:
        with psycopg.connect(uri) as conn:
            conn.execute(STAGE)
            conn.commit()
            while (batch := batches.get()) is not None:
                with conn.cursor() as cursor:
                    with cursor.copy(FILL) as copy:
                        for pair in batch:
                            copy.write_row(pair)
                    cursor.execute(WRITE, [batch[0][0], batch[-1][0]])
                conn.commit()
    except BaseException as problem:
        failed.append(problem)
        while batches.get() is not None:  # let the reader end
            pass


def row_by_row(uri: str, rows: int) -> int:
    """Read the first rows whole, and write each back in a transaction of its own; return how many."""
    with psycopg.connect(uri) as conn:
        with conn.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            people: list[dict[str, Any]] = cursor.execute(ALL_COLUMNS, [rows]).fetchall()
        for person in people:
            name = display_name(person["first_name"], person["last_name"])
            conn.execute(ONE_ROW, [name, person["id"]])
            conn.commit()
    return len(people)
