"""Counters and timings through Airflow's own stats: StatsD, DogStatsD or OpenTelemetry, as Airflow is configured."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

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
