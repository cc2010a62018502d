"""Build one DAG for each revision of a folder: pure, sorted, and the same each time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, TaskGroup, TriggerRule, get_parsing_context
from airflow.sdk.definitions.param import ParamsDict

from lockstep.domain.chain import load_chain
from lockstep.domain.errors import ChainFaults
from lockstep.domain.loading import load_revision
from lockstep.domain.revision import Revision
from lockstep.orchestration import shape as drawn
from lockstep.orchestration.assets import outlets
from lockstep.orchestration.docs import doc_md, tags
from lockstep.orchestration.links import base_url
from lockstep.orchestration.params import revision_params
from lockstep.orchestration.retries import pool_arguments
from lockstep.orchestration.stamp import Task, edge, stamp, stamp_mapped
from lockstep.orchestration.tasks.ask import Ask
from lockstep.orchestration.tasks.backups import ProveBackups, TakeBackup
from lockstep.orchestration.tasks.decide import Decide
from lockstep.orchestration.tasks.emit import Emit
from lockstep.orchestration.tasks.open_run import OpenRun
from lockstep.orchestration.tasks.outcome import Outcome
from lockstep.orchestration.tasks.put_back import PutBack
from lockstep.orchestration.tasks.record import Record
from lockstep.orchestration.tasks.settle import Settle
from lockstep.orchestration.tasks.steps import PlanShards, RunShard, RunStep
from lockstep.orchestration.tasks.verify import Verify
from lockstep.orchestration.tasks.verify_restored import VerifyRestored

PREFIX = "revision_"
OWNER = "lockstep"
#: where a click on the owner leads, unless the environment names a page or mailto: of the team's
OWNER_LINK = "LOCKSTEP_OWNER_LINK"
#: a second run is refused by the ledger at once; a limit of one would let it wait unseen instead
ACTIVE_RUNS = 16


def build_revision_dags(folder: Path) -> dict[str, DAG]:
    """Return the DAG of each revision that can be used, by DAG id.

    While a task is parsed, Airflow says which DAG it wants, and only that one is loaded.
    """
    wanted = get_parsing_context().dag_id
    if wanted is not None:
        return _only(folder, wanted)
    revisions = sorted(load_chain(folder).revisions, key=lambda revision: revision.dag_id)
    return {revision.dag_id: build(revision, folder) for revision in revisions}


def _only(folder: Path, wanted: str) -> dict[str, DAG]:
    path = folder / f"{wanted.removeprefix(PREFIX)}.py"
    if not wanted.startswith(PREFIX) or not path.is_file():
        return {}
    revision = load_revision(path)
    return {revision.dag_id: build(revision, folder)}


def build(revision: Revision, folder: Path) -> DAG:
    """Return the DAG of one revision."""
    dag = new_dag(
        revision.dag_id,
        f"{revision.id} · {revision.description}",
        tags(revision),
        doc_md(revision),
        description=revision.description,
    )
    _Drawing(dag, revision, str(folder / f"{revision.stem}.py")).draw()
    # After the tasks: a DAG's params are copied deeply into each operator that is constructed.
    dag.params = ParamsDict(revision_params())
    return dag


def new_dag(
    dag_id: str,
    title: str,
    labels: Sequence[str],
    page: str,
    *,
    description: str,
    schedule: str | None = None,
) -> DAG:
    """Return an empty DAG that runs only when it is asked to, unless it has a schedule."""
    return DAG(
        dag_id=dag_id,
        dag_display_name=title,
        description=description,
        schedule=schedule,
        catchup=False,
        max_active_runs=ACTIVE_RUNS,
        max_active_tasks=64,
        max_consecutive_failed_dag_runs=0,
        is_paused_upon_creation=False,
        disable_bundle_versioning=False,
        tags=list(labels),
        doc_md=page,
        owner_links={OWNER: os.environ.get(OWNER_LINK) or f"{base_url()}/dags?tags=lockstep"},
    )


class _Drawing:
    """The tasks of one revision and what waits for what."""

    def __init__(self, dag: DAG, revision: Revision, path: str) -> None:
        self.dag = dag
        self.path = path
        self.shape = drawn.shape_of(revision)

    def draw(self) -> None:
        prove = self.backups()
        settle = stamp(Settle, self.dag, drawn.SETTLE, rule=TriggerRule.ALL_DONE, path=self.path)
        verify = stamp(Verify, self.dag, drawn.VERIFY, path=self.path)
        self.steps(drawn.UPGRADE, self.shape.upgrade, prove, settle)
        edge(settle, verify)
        self.tail((self.way_down(verify),))

    def backups(self) -> Task:
        """Draw one backup for each database, side by side, and their proof."""
        group = self.group(drawn.BACKUP, "what the revision touches, written to the vault and read back")
        opened = stamp(OpenRun, self.dag, drawn.OPEN_RUN, path=self.path)
        prove = stamp(ProveBackups, self.dag, drawn.PROVE, group=group, path=self.path)
        for place, name in enumerate(self.shape.backups):
            backup = stamp(TakeBackup, self.dag, name, group=group, path=self.path, place=place)
            edge(opened, backup)
            edge(backup, prove)
        if not self.shape.backups:
            edge(opened, prove)
        return prove

    def way_down(self, verify: Task) -> Task:
        """Draw the failure branch, which is also the way of a run that was asked to go down."""
        group = self.group(drawn.DOWNGRADE, "takes back what was done, in reverse")
        rule, path = TriggerRule.ALL_DONE, self.path
        ask = stamp(Ask, self.dag, drawn.ASK, group=group, rule=rule, path=path)
        decide = stamp(Decide, self.dag, drawn.DECIDE, group=group, rule=rule, path=path)
        edge(verify, ask)
        edge(ask, decide)
        restored = stamp(VerifyRestored, self.dag, drawn.VERIFY_RESTORED, rule=rule, path=path)
        self.steps(drawn.DOWNGRADE, self.shape.downgrade, decide, restored, group=group)
        put_back = stamp(PutBack, self.dag, drawn.PUT_BACK, rule=rule, path=path)
        edge(restored, put_back)
        return put_back

    def tail(self, ends: tuple[Task, ...]) -> None:
        """Draw the one ending that serves every way."""
        record = stamp(Record, self.dag, drawn.RECORD, rule=TriggerRule.ALL_DONE, path=self.path)
        emit = stamp(Emit, self.dag, drawn.EMIT, outlets=outlets(), path=self.path)
        outcome = stamp(
            Outcome,
            self.dag,
            drawn.OUTCOME,
            rule=TriggerRule.ALL_DONE,
            path=self.path,
            returns_dag_result=True,
        )
        for end in ends:
            edge(end, record)
        edge(record, emit)
        edge(emit, outcome)

    def steps(
        self,
        group_id: str,
        pieces: tuple[drawn.Piece, ...],
        before: Task,
        after: Task,
        group: TaskGroup | None = None,
    ) -> None:
        """Draw steps one after another; `after` waits for each of them.

        A shard that fails lets the next step be given up at once, while its siblings still write. Whoever is
        to find everything at rest must therefore wait for every step, and not for the last alone.
        """
        group = group or self.group(group_id, "the operations of upgrade(), one after another")
        last = before
        for piece in pieces:
            first, end = self.piece(group, piece)
            edge(last, first)
            edge(end, after)
            last = end
        if not pieces:
            edge(before, after)

    def piece(self, group: TaskGroup, piece: drawn.Piece) -> tuple[Task, Task]:
        """Draw one step: a task, or a group of plan and mapped shards."""
        own: dict[str, Any] = {"path": self.path, "moves": piece.moves}
        pooled = {**own, **pool_arguments(piece.conn_id)}
        if not piece.batched:
            step = stamp(RunStep, self.dag, piece.name, group=group, doc=piece.tip or None, **pooled)
            return step, step
        inner = self.group(piece.name, piece.tip, parent=group)
        plan = stamp(PlanShards, self.dag, drawn.PLAN_SHARDS, group=inner, **own)
        shard = stamp_mapped(
            RunShard, self.dag, drawn.SHARD, group=inner, over=plan, label="keys", own=pooled
        )
        return plan, shard

    def group(self, name: str, tip: str, parent: TaskGroup | None = None) -> TaskGroup:
        return TaskGroup(group_id=name, dag=self.dag, parent_group=parent or self.dag.task_group, tooltip=tip)


def refuse_faults(folder: Path) -> None:
    """Raise ChainFaults where a revision of the folder cannot be used; Airflow shows it as an import error."""
    if get_parsing_context().dag_id is not None:
        return
    faults = load_chain(folder).faults
    if faults:
        raise ChainFaults(faults)
