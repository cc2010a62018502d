"""The DAG that delivers the events which have not arrived."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, Param
from airflow.sdk.definitions.param import ParamsDict

from lockstep.domain.environment import Environment
from lockstep.orchestration.assets import outlets
from lockstep.orchestration.environments import ENVIRONMENT, each, environment_param
from lockstep.orchestration.factory import new_dag
from lockstep.orchestration.params import dry_run_param
from lockstep.orchestration.stamp import stamp
from lockstep.orchestration.tasks.relay import RELAY, Relay

DAG_ID = "relay"
#: when it runs by itself: a cron expression in UTC, or a preset; empty for never
SCHEDULE = "LOCKSTEP_RELAY_SCHEDULE"
EVERY = "*/5 * * * *"
_TITLE = "Deliver the events that have not arrived"
_PAGE = """
Deliver what waits in the outbox: events that a sink did not take when their run ended, and those of runs that died.

Each event is tried again after half a minute, then after twice as long each time, up to an hour, and as soon as its sink
takes another one. Those of one run arrive in their order.

It is green with a warning in its log while a sink is away, and red where a sink refuses an event, or where one that
has waited for longer than `overdue_hours` failed once more. Nothing is lost either way, and no run waits for it.

Trigger it with `at_once` after a sink was mended.
"""


def build_relays(folder: Path) -> dict[str, DAG]:
    """Return a DAG for each environment, by DAG id: a schedule fills no form, and each has an outbox."""
    return {dag_id: build_relay(folder, dag_id, environment) for dag_id, environment in each(DAG_ID).items()}


def build_relay(folder: Path, dag_id: str = DAG_ID, environment: Environment | None = None) -> DAG:
    """Return the DAG `relay`, or the one of another environment than the default one."""
    schedule = os.environ.get(SCHEDULE, EVERY).strip() or None
    dag = new_dag(
        dag_id,
        f"{dag_id} · {_TITLE}",
        ["lockstep", "care"],
        _PAGE,
        description=_TITLE,
        schedule=schedule,
    )
    # One after another: what the one before has not finished, this one would only skip.
    dag.max_active_runs = 1
    stamp(Relay, dag, RELAY, outlets=outlets(), path=str(folder), returns_dag_result=True)
    dag.params = ParamsDict(relay_params(environment))
    return dag


def relay_params(environment: Environment | None = None) -> dict[str, Param]:
    """Return the form."""
    return {
        ENVIRONMENT: environment_param(environment),
        **dry_run_param(),
        "at_once": Param(
            False,
            type="boolean",
            title="Try everything now",
            description_md="Also what waits for a later try.",
        ),
        "overdue_hours": Param(
            24,
            type="number",
            minimum=0,
            maximum=8760,
            title="Hours for which a sink may be away",
            description_md="An event that fails and is older makes this run red.",
        ),
    }
