"""Counters and timings through Airflow's own stats: StatsD, DogStatsD or OpenTelemetry, as Airflow is configured."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

#: before every name, behind the prefix that Airflow puts before all of them
PREFIX = "lockstep."


class AirflowMeter:
    """Count with what Airflow counts with. Where that fails, nobody notices: a number is not worth a run."""

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        with suppress(Exception):
            from airflow.sdk.observability import stats

            stats.incr(PREFIX + name, amount, tags=tags)

    def time(self, name: str, seconds: float, **tags: str) -> None:
        with suppress(Exception):
            from airflow.sdk.observability import stats

            stats.timing(PREFIX + name, timedelta(seconds=seconds), tags=tags)

    def gauge(self, name: str, value: float, **tags: str) -> None:
        with suppress(Exception):
            from airflow.sdk.observability import stats

            stats.gauge(PREFIX + name, value, tags=tags)


def came_back(context: Any, left: str | None) -> None:
    """Time a hold without a worker: from the moment at which the task gave it back, in ISO 8601, until now."""
    if left is None:
        return
    with suppress(Exception):
        from lockstep.orchestration.environments import environment_of

        seconds = (datetime.now(timezone.utc) - datetime.fromisoformat(left)).total_seconds()
        environment = environment_of(context["params"]).name
        AirflowMeter().time("hold.seconds", seconds, dag=context["ti"].dag_id, environment=environment)
