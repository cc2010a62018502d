"""Uploads that overlap with the reading of what comes next, within a bound of bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

#: uploads at a time
WORKERS = 4
#: bytes that may be on their way at a time
BUDGET = 16 * 1024 * 1024
#: uploads that may be on their way at a time, however small
QUEUE = 4 * WORKERS


class Uploads:
    """A small pool: `submit` waits while too much is on its way, and raises what an earlier upload raised."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="lockstep-vault")
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self._bytes = 0

    def __enter__(self) -> Uploads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What runs is waited for, also after an error: an abort must come after the last part's arrival.
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, upload: Callable[[], None], size: int) -> None:
        """Start an upload of `size` bytes."""
        while self._waiting and (self._bytes + size > BUDGET or len(self._waiting) >= QUEUE):
            self._wait()
        self._waiting.append((self._pool.submit(upload), size))
        self._bytes += size

    def finish(self) -> None:
        """Wait for all uploads."""
        while self._waiting:
            self._wait()

    def _wait(self) -> None:
        upload, size = self._waiting.popleft()
        upload.result()
        self._bytes -= size


def blocks(chunks: Iterator[bytes], size_of: Callable[[int], int]) -> Iterator[bytearray]:
    """Cut chunks anew into blocks; block n (from 1) has `size_of(n)` bytes, the last at most that.

    There is always one block, empty for an empty stream.
    """
    held = bytearray()
    number = 1
    for chunk in chunks:
        view = memoryview(chunk)
        while len(view):
            taken = view[: size_of(number) - len(held)]
            held += taken
            view = view[len(taken) :]
            if len(held) == size_of(number):
                # Given away as it is: sent as `bytes` it would be copied, once here and once by botocore.
                yield held
                held = bytearray()
                number += 1
    if held or number == 1:
        yield held
