"""How often a task is tried again, and which errors are worth it."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError

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


def will_retry(error: BaseException, try_number: int, max_tries: int) -> bool:
    """Say whether Airflow will try the task again after this error.

    Ours say for themselves; AirflowRuntimeError is the API server's answer, or that it gave none.
    """
    transient = isinstance(error, AirflowRuntimeError) or getattr(error, "transient", False) is True
    return transient and try_number <= max_tries


def as_airflow_sees_it(error: BaseException, retried: bool) -> BaseException:
    """Return what to raise: the error itself where a retry follows, else one that ends the task at once."""
    return error if retried else AirflowFailException(str(error) or type(error).__name__)
