"""How a dry run ends: its first task has said everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from lockstep.orchestration.params import DRY_RUN
from lockstep.orchestration.tasks.base import skipping

if TYPE_CHECKING:
    from airflow.sdk.exceptions import AirflowException

    from lockstep.orchestration.tasks.base import Desk

#: where a task's result lies
RESULT = "return_value"


def is_dry(desk: Desk) -> bool:
    """Whether this run is only to say what it would do."""
    return bool(desk.params.get(DRY_RUN))


def end_dry(desk: Desk, told: Mapping[str, Any], rest: Iterable[str]) -> AirflowException:
    """Leave what would be done as the task's result, and return what to raise so that `rest` is left out.

    `told`: plain JSON with the key `plan`. `rest`: every other task of the DAG, so that the run ends green.
    """
    desk.log.info("a dry run: nothing was written anywhere, and nothing more happens")
    # Pushed by hand: a task that leaves others out returns nothing.
    desk.ti.xcom_push(key=RESULT, value=dict(told))
    return skipping(rest)
