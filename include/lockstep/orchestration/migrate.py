"""The DAG that brings the chain up to a target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import DAG
from airflow.sdk.definitions.param import ParamsDict

from lockstep.orchestration.factory import new_dag
from lockstep.orchestration.params import route_params
from lockstep.orchestration.stamp import edge, stamp
from lockstep.orchestration.tasks.approve_route import APPROVE_TASK, ApproveRoute
from lockstep.orchestration.tasks.follow import FOLLOW, PLAN, Follow
from lockstep.orchestration.tasks.plan_route import PlanRoute

if TYPE_CHECKING:
    from lockstep.domain.revision import Direction

_HELP = (
    "`head` for the newest revision, or a revision's id. Nothing is done where the chain is there already."
)
_PAGE = """
Apply every revision up to `target`, one after another, each by its own DAG with its own backup.

`plan` says in its log what would run and checks what it leans on; `approve` asks a person where the environment's
policy wants that; `follow` starts one revision after another. With `dry_run` it ends after the plan, and writes nothing.

It stops at the first that does not end where it should, and says why. While a revision runs, this waits
without a worker. Started again, it goes on from where the chain is.

A deploy calls it over the REST API and waits:

```
POST /api/v2/dags/migrate/dagRuns   {"logical_date": null, "dag_run_id": "deploy-<commit>", "conf": {}}
GET  /api/v2/dags/migrate/dagRuns/deploy-<commit>/wait?interval=2&result=follow
```
"""


def build_migrate(folder: Path) -> DAG:
    """Return the DAG `migrate`."""
    return route_dag("migrate", "upgrade", folder, "Bring the chain up to a target", _PAGE, "head", _HELP)


def route_dag(
    dag_id: str, direction: Direction, folder: Path, title: str, page: str, target: str, help_text: str
) -> DAG:
    """Return a DAG that plans a route over the chain and follows it."""
    dag = new_dag(dag_id, f"{dag_id} · {title}", ["lockstep", "chain"], page, description=title)
    plan = stamp(PlanRoute, dag, PLAN, path=str(folder), direction=direction)
    approve = stamp(ApproveRoute, dag, APPROVE_TASK, path=str(folder))
    follow = stamp(Follow, dag, FOLLOW, path=str(folder), returns_dag_result=True)
    edge(plan, approve)
    edge(approve, follow)
    dag.params = ParamsDict(route_params(target, help_text, direction))
    return dag
