"""What the programs that this process starts hold in memory."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: seconds between two looks: a program's own high-water mark is read, so that only its last moments are missed
EVERY = 0.05


@contextmanager
def watched() -> Iterator[dict[str, int]]:
    """Give, by program, the most bytes that one of them held; filled while the block lasts, empty off Linux."""
    held: dict[str, int] = {}
    done = threading.Event()

    def look() -> None:
        while not done.wait(EVERY):
            for pid in _children():
                name, peak = _peak(pid)
                held[name] = max(held.get(name, 0), peak)
            held.pop("", None)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        done.set()
        thread.join()


def _children() -> list[str]:
    found: list[str] = []
    for task in Path("/proc/self/task").glob("*/children"):
        try:
            found += task.read_text().split()
        except OSError:  # that thread has ended
            continue
    return found


def _peak(pid: str) -> tuple[str, int]:
    """Return a process's name and high-water mark; no name where it has ended, or is not the program yet."""
    try:
        said = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return "", 0
    name, peak = (
        re.search(r"^Name:\t(.+)$", said, re.MULTILINE),
        re.search(r"^VmHWM:\s+(\d+) kB", said, re.MULTILINE),
    )
    if name is None or peak is None or not name[1].startswith("pg_"):
        return "", 0
    return name[1], int(peak[1]) * 1024
