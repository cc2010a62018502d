"""What the history's entries say of the Airflow task that writes them."""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lockstep.domain.surroundings import Surroundings, here


def surroundings() -> Surroundings:
    """Return versions and host, and inside of a task its name and the page of its log."""
    ti = _task_instance()
    if ti is None:
        return here(airflow=_airflow())
    place = f"{ti.task_id}[{ti.map_index}]" if ti.map_index is not None and ti.map_index >= 0 else ti.task_id
    return here(
        task=f"{ti.dag_id} / {ti.run_id} / {place}, try {ti.try_number}",
        log_url=getattr(ti, "log_url", None),
        airflow=_airflow(),
    )


def _task_instance() -> Any | None:
    from airflow.sdk import get_current_context

    with suppress(RuntimeError):  # no task runs here: the API server's pages, or a script
        return get_current_context()["ti"]
    return None


def _airflow() -> str | None:
    try:
        return version("apache-airflow-core")
    except PackageNotFoundError:
        return None
