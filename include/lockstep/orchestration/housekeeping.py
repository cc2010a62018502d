"""The DAG that clears away and looks after what runs leave behind."""

from __future__ import annotations

import os
from pathlib import Path

from airflow.sdk import DAG, TriggerRule
from airflow.sdk.definitions.param import ParamsDict

from lockstep.domain.environment import Environment
from lockstep.orchestration.environments import each
from lockstep.orchestration.factory import new_dag
from lockstep.orchestration.housekeeping_params import housekeeping_params
from lockstep.orchestration.stamp import edge, stamp
from lockstep.orchestration.tasks.housekeeping_concerns import CONCERNS
from lockstep.orchestration.tasks.housekeeping_outcome import OUTCOME, HousekeepingOutcome

DAG_ID = "housekeeping"
#: when it runs by itself: a cron expression in UTC, or a preset such as @daily; empty for never
SCHEDULE = "LOCKSTEP_HOUSEKEEPING_SCHEDULE"
_TITLE = "Retention, leftovers, sampled reading and drift"
_PAGE = """
Look after what runs leave behind, once a day. No concern waits for another, and each may be run again.

| Task | What it does |
|---|---|
| `remove_backups` | removes backups past their retention, with the journals of their runs |
| `find_strangers` | reports folders of the vault that the ledger does not know |
| `drop_scratch_spaces` | drops scratch spaces whose run or rehearsal is over |
| `tidy_leases` | removes leases of ended runs, and reports runs that nobody works on |
| `read_backups` | reads a sample of every backup again and compares it with its manifest |
| `remove_parked` | removes parked things past their retention |
| `find_drift` | compares each database with what the chain's runs left, object by object |
| `audit_history` | archives what is left of the history, and checks the ledger's against the archive's |

`outcome` is red where a person has to look at something, and says at what. With `dry_run` nothing is changed.
It never changes the status of a revision or a run.
"""


def build_housekeepings(folder: Path) -> dict[str, DAG]:
    """Return a DAG for each environment, by DAG id: a schedule fills no form, and each is to be cared for."""
    return {
        dag_id: build_housekeeping(folder, dag_id, environment)
        for dag_id, environment in each(DAG_ID).items()
    }


def build_housekeeping(folder: Path, dag_id: str = DAG_ID, environment: Environment | None = None) -> DAG:
    """Return the DAG `housekeeping`, or the one of another environment than the default one."""
    schedule = os.environ.get(SCHEDULE, "").strip() or None
    dag = new_dag(
        dag_id,
        f"{dag_id} · {_TITLE}",
        ["lockstep", "care"],
        _PAGE,
        description=_TITLE,
        schedule=schedule,
    )
    outcome = stamp(
        HousekeepingOutcome,
        dag,
        OUTCOME,
        rule=TriggerRule.ALL_DONE,
        path=str(folder),
        returns_dag_result=True,
    )
    for name, kind in CONCERNS.items():
        edge(stamp(kind, dag, name, path=str(folder)), outcome)
    dag.params = ParamsDict(housekeeping_params(environment))
    return dag
