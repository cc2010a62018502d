"""How often a task is tried again, which errors are worth it, and in which pool it waits."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError

from lockstep.domain.pools import SWITCH, pool_of

#: tries after the first; together about half a minute, and a minute for a worker that was killed
RETRIES = 4
POOL = "LOCKSTEP_POOL"


def retry_arguments() -> dict[str, Any]:
    """Return the retry arguments of every task.

    They also hold for a task whose process was killed, which raised nothing.
    """
    return {
        "retries": RETRIES,
        "retry_delay": timedelta(seconds=2),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(seconds=60),
        "pool": os.environ.get(POOL) or "default_pool",
    }


def pool_arguments(conn_id: str | None) -> dict[str, str]:
    """Return the pool of a task that writes to a database, where databases have pools of their own."""
    switched_on = os.environ.get(SWITCH, "").strip().lower() in ("1", "true", "yes")
    return {"pool": pool_of(conn_id)} if conn_id and switched_on else {}


def will_retry(error: BaseException, try_number: int, max_tries: int) -> bool:
    """Say whether Airflow will try the task again after this error.

    Ours say for themselves; AirflowRuntimeError is the API server's answer, or that it gave none.
    """
    transient = isinstance(error, AirflowRuntimeError) or getattr(error, "transient", False) is True
    return transient and try_number <= max_tries


def as_airflow_sees_it(error: BaseException, retried: bool) -> BaseException:
    """Return what to raise: the error itself where a retry follows, else one that ends the task at once."""
    return error if retried else AirflowFailException(str(error) or type(error).__name__)
