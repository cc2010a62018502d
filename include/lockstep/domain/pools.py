"""The Airflow pools that cap how many tasks press on one database at a time, across revisions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lockstep.domain.environment import Environment

#: environment variable that puts the tasks of steps into these pools, which must exist then: Airflow lets a task
#: whose pool is missing wait for ever
SWITCH = "LOCKSTEP_POOLS"
#: tasks that write to one database at a time, unless somebody says otherwise
SLOTS = 4


_PREFIX = "lockstep_"


def pool_of(conn_id: str) -> str:
    """Return the name of a database's pool."""
    return f"{_PREFIX}{conn_id}"


def in_environment(pool: str, environment: Environment) -> str:
    """Return the pool of the same database in an environment; another pool than a database's as it is."""
    return pool_of(environment.conn_id(pool.removeprefix(_PREFIX))) if pool.startswith(_PREFIX) else pool


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
