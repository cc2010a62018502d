"""Ask Airflow the same question until it has an answer: what triggers do while a task holds no worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TypeVar

from airflow.sdk.exceptions import AirflowRuntimeError
from asgiref.sync import sync_to_async

#: questions in a row that may go unanswered before the wait itself counts as failed
PATIENCE = 30

T = TypeVar("T")


async def poll(look: Callable[[], T | None], seconds: float, until: datetime | None = None) -> T | None:
    """Look every so many seconds, and return what was found first; None once `until` has passed.

    Even the first look comes after a pause: Airflow 3.3 takes a task for lost that it is to start again before it
    has seen the task's former worker end. Raises AirflowRuntimeError where Airflow does not answer for long.
    """
    unanswered = 0
    while until is None or datetime.now(timezone.utc) < until:
        await asyncio.sleep(seconds)
        try:
            found = await sync_to_async(look)()
            unanswered = 0
        except AirflowRuntimeError:
            unanswered += 1
            if unanswered >= PATIENCE:
                raise
            continue
        if found is not None:
            return found
    return None
