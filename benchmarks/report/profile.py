"""The table of what each competitor spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.report.words import seconds, size

#: server → what it is called here
SERVERS = {"postgres": "PostgreSQL", "mongo": "nx-27017", "s3": "moto"}


def table(part: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| Who | Seconds | CPU of ours or the client's | CPU of the servers | WAL | To the disk | What sessions did |"
    yield "|---|---|---|---|---|---|---|"
    for one in part["measured"]:
        facts = one["facts"]
        servers = ", ".join(
            f"{_name(name)} {seconds(cpu)}" for name, cpu in facts["server_cpu"].items() if cpu >= 0.1
        )
        doing = ", ".join(f"{what} {share:.0%}" for what, share in list(facts["doing"].items())[:4])
        micro = f"{facts['client_cpu'] / one['records'] * 1e6:,.1f} µs a record"
        yield (
            f"| {one['who']} | {seconds(one['seconds'])} | {seconds(facts['client_cpu'])} ({micro}) | {servers} "
            f"| {size(facts['wal_bytes'])} | {size(facts['disk_bytes'])} | {doing or '–'} |"
        )


def _name(server: str) -> str:
    return next((shown for known, shown in SERVERS.items() if known in server.lower()), server)
