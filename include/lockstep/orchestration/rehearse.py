"""The DAG that tries the plan on a copy."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from airflow.sdk import DAG, TriggerRule
from airflow.sdk.definitions.param import ParamsDict

from lockstep.orchestration.factory import new_dag
from lockstep.orchestration.rehearse_params import rehearse_params
from lockstep.orchestration.stamp import Task, edge, stamp, stamp_mapped
from lockstep.orchestration.tasks.rehearse_back_up import BackUpLive
from lockstep.orchestration.tasks.rehearse_base import (
    ANNOUNCE,
    BACK_UP,
    DAG_ID,
    DROP,
    OPEN,
    OUTCOME,
    REPORT,
    TRY_OUT,
)
from lockstep.orchestration.tasks.rehearse_end import (
    AnnounceVerdict,
    DropScratch,
    EndRehearsal,
    RehearsalOutcome,
)
from lockstep.orchestration.tasks.rehearse_open import OpenRehearsal
from lockstep.orchestration.tasks.rehearse_try_out import TryOut

_TITLE = "Try the plan on a copy"
_PAGE = """
Try every pending revision up to `target` on a copy of the data: up, down, compared with what was there before, and up
again. The live databases are only read, and only where `source` is `fresh`.

| Task | What it does |
|---|---|
| `open` | finds the pending revisions and what they need of which database |
| `back_up` | reads each live database into the rehearsal's folder of the vault |
| `try_out` | loads scratch copies, tries the plan on them with the same engine, measures, writes the report |
| `report` | gives the verdict and keeps the predictions in the ledger |
| `drop` | drops the scratch spaces, unless `keep` |
| `announce` | tells GitHub and webhooks, where connections to them exist |

`outcome` is green only for a green verdict. The link *Rehearsal report* leads to the page: times of each operation, the
time predicted for the live data, growth, locks, records before and after.

```
POST /api/v2/dags/rehearse/dagRuns {"logical_date": null, "conf": {"target": "head", "commit": "<sha>"}}
```
"""


def build_rehearse(folder: Path) -> DAG:
    """Return the DAG `rehearse`."""
    dag = new_dag(DAG_ID, f"{DAG_ID} · {_TITLE}", ["lockstep", "chain"], _PAGE, description=_TITLE)
    path = str(folder)
    opened = stamp(OpenRehearsal, dag, OPEN, path=path)
    back_up = stamp_mapped(
        BackUpLive, dag, BACK_UP, group=dag.task_group, over=opened, label="database", own={"path": path}
    )
    # A backup that an earlier run has left needs none of it: skipped is as good as done.
    tried = stamp(TryOut, dag, TRY_OUT, rule=TriggerRule.NONE_FAILED, path=path)
    ended = stamp(EndRehearsal, dag, REPORT, rule=TriggerRule.ALL_DONE, path=path)
    dropped = stamp(DropScratch, dag, DROP, rule=TriggerRule.ALL_DONE, path=path)
    announced = stamp(AnnounceVerdict, dag, ANNOUNCE, rule=TriggerRule.ALL_DONE, path=path)
    outcome = stamp(
        RehearsalOutcome, dag, OUTCOME, rule=TriggerRule.ALL_DONE, path=path, returns_dag_result=True
    )
    line: list[Task] = [opened, back_up, tried, ended, dropped, announced, outcome]
    for before, after in pairwise(line):
        edge(before, after)
    dag.params = ParamsDict(rehearse_params())
    return dag
