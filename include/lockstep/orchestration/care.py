"""The DAGs by which a person decides about the state of revisions: a plan that is only read, then the decision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from airflow.sdk import DAG, Param
from airflow.sdk.definitions.param import ParamsDict

from lockstep.orchestration.care_params import accept_params, baseline_params, repair_params
from lockstep.orchestration.factory import new_dag
from lockstep.orchestration.stamp import edge, stamp
from lockstep.orchestration.tasks.accept_checksum import Accept, PlanAcceptance
from lockstep.orchestration.tasks.baseline import Adopt, PlanBaseline
from lockstep.orchestration.tasks.care_base import PLAN, Deciding, Planning
from lockstep.orchestration.tasks.repair import PlanRepair, Settle

_BASELINE = """
Adopt databases that already are at a revision: it and those before it are marked applied, and nothing is run.

The `verify()` of each is asked of the live data first, which is only read; where one does not hold, nothing is done. The
shape of the databases is kept as it is, so that drift is seen from now on.

What is baselined has no backup and no journal: a downgrade that restores something is refused for good, one by its
own operations works.
"""
_REPAIR = """
Say what a revision really is that is `failed`, or whose run was left half-way: `applied` or `rolled_back`.

Look at the data first: the log of the failed task says how far it got, and the run's page what is parked and where
its backup is. Most often there is a better way: clear the failed task, trigger the revision's DAG with `resume`, or
trigger `restore`, which puts the backup back.

The run that was left ends, whoever still works for it writes nothing more, and the next run starts unaided.
"""
_ACCEPT = """
Accept that the file of an applied revision was edited, where the edit is harmless: a comment, a docstring, a name.

Trigger it with the revision alone: the log of `plan` shows what changed since it was applied, and the checksum of the
file now. Then trigger it again with the first 12 characters of that checksum and a reason. Other operations than those
that were applied are refused, unless the form says that they may differ.
"""


def build_baseline(folder: Path) -> DAG:
    """Return the DAG `baseline`."""
    title = "Adopt databases that are at a revision already"
    return _build("baseline", title, _BASELINE, folder, PlanBaseline, Adopt, baseline_params())


def build_repair(folder: Path) -> DAG:
    """Return the DAG `repair`."""
    title = "Say what a failed revision really is"
    return _build("repair", title, _REPAIR, folder, PlanRepair, Settle, repair_params())


def build_accept_checksum(folder: Path) -> DAG:
    """Return the DAG `accept_checksum`."""
    title = "Accept a harmless edit of an applied revision"
    return _build("accept_checksum", title, _ACCEPT, folder, PlanAcceptance, Accept, accept_params())


def _build(
    dag_id: str,
    title: str,
    page: str,
    folder: Path,
    plan: type[Planning],
    decide: type[Deciding],
    params: Mapping[str, Param],
) -> DAG:
    dag = new_dag(dag_id, f"{dag_id} · {title}", ["lockstep", "care"], page, description=title)
    first = stamp(plan, dag, PLAN, path=str(folder))
    edge(first, stamp(decide, dag, decide.name, path=str(folder), returns_dag_result=True))
    dag.params = ParamsDict(dict(params))
    return dag
