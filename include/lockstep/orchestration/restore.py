"""The DAG that puts a backup back."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from airflow.sdk import DAG, TriggerRule
from airflow.sdk.definitions.param import ParamsDict

from lockstep.orchestration.assets import outlets
from lockstep.orchestration.factory import new_dag
from lockstep.orchestration.restore_params import restore_params
from lockstep.orchestration.shape import EMIT, OPEN_RUN, OUTCOME, RECORD
from lockstep.orchestration.stamp import Task, edge, stamp, stamp_mapped
from lockstep.orchestration.tasks.approve_restore import ApproveRestore
from lockstep.orchestration.tasks.choose_backup import ChooseBackup
from lockstep.orchestration.tasks.emit import Emit
from lockstep.orchestration.tasks.open_restore import OpenRestore
from lockstep.orchestration.tasks.plan_restore import PlanRestore
from lockstep.orchestration.tasks.put_databases_back import BackUpOverwritten, PutDatabaseBack
from lockstep.orchestration.tasks.record_restore import RecordRestore, RestoreOutcome
from lockstep.orchestration.tasks.restore_names import APPROVE, BACK_UP, CHOOSE, DAG_ID, PLAN, PUT_BACK

_TITLE = "Put a backup back"
_PAGE = """
Put a backup back, wholly or in part, to where it came from or into another database.

| Task | What it does |
|---|---|
| `choose` | asks which backup, where the form names none; the latest are listed |
| `plan` | says in its log what goes where, what is overwritten, and what becomes of the revisions |
| `approve` | asks a person, with the plan before them, unless nothing is overwritten or `approve` says otherwise |
| `open_run` | opens the run in the ledger, and ends what was left half-way, so that nobody else writes |
| `back_up` | backs up what will be overwritten, and proves that |
| `put_back` | puts each database back by what differs, and compares it with the backup |
| `record` | makes the ledger say what is so: statuses, history, event, archive, in one |

While it asks, no worker waits. Killed anywhere, it goes on where it stopped: clear the failed task, or trigger it again
with the same form. A run that lives is never interrupted: wait for it, or mark its DAG run failed first.

Over the REST API:

```
POST /api/v2/dags/restore/dagRuns {"logical_date": null, "conf": {"backup": "<run id>", "approve": "never"}}
```
"""


def build_restore(folder: Path) -> DAG:
    """Return the DAG `restore`."""
    dag = new_dag(DAG_ID, f"{DAG_ID} · {_TITLE}", ["lockstep", "care"], _PAGE, description=_TITLE)
    path = str(folder)
    choose = stamp(ChooseBackup, dag, CHOOSE, path=path)
    plan = stamp(PlanRestore, dag, PLAN, path=path)
    approve = stamp(ApproveRestore, dag, APPROVE, path=path)
    opened = stamp(OpenRestore, dag, OPEN_RUN, path=path)
    group = dag.task_group
    back_up = stamp_mapped(
        BackUpOverwritten, dag, BACK_UP, group=group, over=opened, label="database", own={"path": path}
    )
    put_back = stamp_mapped(
        PutDatabaseBack, dag, PUT_BACK, group=group, over=opened, label="database", own={"path": path}
    )
    record = stamp(RecordRestore, dag, RECORD, rule=TriggerRule.ALL_DONE, path=path)
    emit = stamp(Emit, dag, EMIT, outlets=outlets(), path=path)
    outcome = stamp(
        RestoreOutcome, dag, OUTCOME, rule=TriggerRule.ALL_DONE, path=path, returns_dag_result=True
    )
    line: list[Task] = [choose, plan, approve, opened, back_up, put_back, record, emit, outcome]
    for before, after in pairwise(line):
        edge(before, after)
    dag.params = ParamsDict(restore_params())
    return dag
