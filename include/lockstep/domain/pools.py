"""The Airflow pools that cap how many tasks press on one database at a time, across revisions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

#: environment variable that puts the tasks of steps into these pools, which must exist then: Airflow lets a task
#: whose pool is missing wait for ever
SWITCH = "LOCKSTEP_POOLS"
#: tasks that write to one database at a time, unless somebody says otherwise
SLOTS = 4


def pool_of(conn_id: str) -> str:
    """Return the name of a database's pool."""
    return f"lockstep_{conn_id}"


def pools(conn_ids: Iterable[str], slots: int = SLOTS) -> dict[str, dict[str, Any]]:
    """Return pools as `airflow pools import` reads them. A held task leaves its place to others."""
    return {
        pool_of(conn_id): {
            "slots": slots,
            "description": f"Tasks of revisions that write to {conn_id}, at a time",
            "include_deferred": False,
        }
        for conn_id in sorted(set(conn_ids))
    }
