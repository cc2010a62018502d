"""What a measurement spent: CPU of clients and servers, bytes to the disk, and what the database waited for.

Looking costs a little itself, so a part that looks compares nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg

from benchmarks import children
from benchmarks.children import Answer
from benchmarks.places import Places

#: seconds between two looks
PAUSE = 0.05

#: What each session that works is doing: a wait, or nothing but work.
DOING = """
SELECT coalesce(wait_event_type || ': ' || wait_event, 'CPU'), backend_type FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND (
    backend_type = 'client backend' AND state = 'active'
    OR backend_type IN ('checkpointer', 'walwriter', 'background writer') AND wait_event_type IS DISTINCT FROM 'Activity'
)
"""
#: Where the write-ahead log ends.
WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'"


@dataclass
class Spent:
    """Seconds and bytes of one measurement, once it is over."""

    client_cpu: float = 0.0
    #: server → seconds of CPU, of all its processes
    server_cpu: dict[str, float] = field(default_factory=dict)
    wal_bytes: int = 0
    disk_bytes: int = 0
    #: what PostgreSQL's sessions were doing → share of the looks at which one did
    doing: dict[str, float] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        return {
            "client_cpu": self.client_cpu,
            "server_cpu": self.server_cpu,
            "wal_bytes": self.wal_bytes,
            "disk_bytes": self.disk_bytes,
            "doing": self.doing,
        }


@contextmanager
def watched(places: Places) -> Iterator[Spent]:
    """Look at the first measurement inside the block, from the moment that its clock runs until it stops."""
    spent = Spent()

    @contextmanager
    def watch() -> Iterator[None]:
        with _looking(places, spent):
            yield

    def answered(answers: list[Answer]) -> None:
        spent.client_cpu = sum(answer.cpu for answer in answers)

    token = children.WATCH.set((watch, answered))
    try:
        yield spent
    finally:
        children.WATCH.reset(token)


@contextmanager
def _looking(places: Places, spent: Spent) -> Iterator[None]:
    cpu = _Cpu({child.spec.name: child.pid for child in places.servers.children})
    over = threading.Event()
    looks: Counter[str] = Counter()
    written = psutil.disk_io_counters()
    with psycopg.connect(places.admin, autocommit=True) as conn:
        began = conn.execute(WAL).fetchone()
        looker = threading.Thread(target=_look, args=(conn, cpu, looks, over), daemon=True)
        looker.start()
        try:
            yield
        finally:
            over.set()
            looker.join()
        ended = conn.execute(WAL).fetchone()
    cpu.look()
    now = psutil.disk_io_counters()
    spent.server_cpu = cpu.spent()
    spent.wal_bytes = int(ended[0] - began[0]) if began and ended else 0
    spent.disk_bytes = now.write_bytes - written.write_bytes if now and written else 0
    rounds = looks.pop("looks", 0) or 1
    spent.doing = {what: count / rounds for what, count in looks.most_common(6)}


def _look(conn: psycopg.Connection[Any], cpu: _Cpu, looks: Counter[str], over: threading.Event) -> None:
    while not over.wait(PAUSE):
        cpu.look()
        looks["looks"] += 1
        for what, kind in conn.execute(DOING):
            looks[what if kind == "client backend" else f"{kind}, {what}"] += 1


class _Cpu:
    """Seconds of CPU of servers; their processes come and go."""

    def __init__(self, servers: dict[str, int]) -> None:
        self._servers = servers
        #: (server, pid) → seconds at the first look that counts, and at the last
        self._seen: dict[tuple[str, int], tuple[float, float]] = {}
        for key, seconds in self._now():
            self._seen[key] = (seconds, seconds)

    def look(self) -> None:
        for key, seconds in self._now():
            # One that began since has spent all of it here.
            self._seen[key] = (self._seen.get(key, (0.0, 0.0))[0], seconds)

    def _now(self) -> Iterator[tuple[tuple[str, int], float]]:
        for name, pid in self._servers.items():
            with suppress(psutil.NoSuchProcess):
                top = psutil.Process(pid)
                for process in (top, *top.children(recursive=True)):
                    with suppress(psutil.NoSuchProcess):
                        times = process.cpu_times()
                        yield (name, process.pid), times.user + times.system

    def spent(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for (name, _), (first, last) in self._seen.items():
            found[name] = found.get(name, 0.0) + last - first
        return found
