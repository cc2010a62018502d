"""Make many tasks cheaply, all alike but for their name, rule and step.

Airflow's operator constructor costs 0.2 ms, and a folder of 300 revisions has more than 4,000 tasks. Each
kind of task is therefore constructed once; the others are copies of it, as Airflow's own deep copy of an
operator makes them: the same attributes under a new name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from airflow.sdk import DAG, AssetAlias, BaseOperator, TaskGroup, TriggerRule
from airflow.sdk.definitions._internal.expandinput import DictOfListsExpandInput
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.param import ParamsDict

from lockstep.orchestration.retries import POOL, retry_arguments

Task = BaseOperator | MappedOperator
Kind = TypeVar("Kind", bound=BaseOperator)
#: among equals the order of the chain decides, and no weight has to be summed over it
_ALIKE: Mapping[str, Any] = {"owner": "lockstep", "weight_rule": "absolute"}


@cache
def _model(kind: type[BaseOperator], pool: str | None) -> BaseOperator:
    """Construct one task of a kind, outside every DAG, to copy from."""
    return kind(task_id="model", **_ALIKE, **retry_arguments())


def stamp(
    kind: type[Kind],
    dag: DAG,
    name: str,
    *,
    group: TaskGroup | None = None,
    rule: TriggerRule = TriggerRule.ALL_SUCCESS,
    outlets: Sequence[AssetAlias] = (),
    **own: Any,
) -> Kind:
    """Add a task of a kind to a DAG and a group, with attributes of its own."""
    group = group or dag.task_group
    task = object.__new__(kind)
    vars(task).update(vars(_model(kind, os.environ.get(POOL))))
    vars(task).update(
        task_id=_id_in(group, name),
        trigger_rule=rule,
        upstream_task_ids=set(),
        downstream_task_ids=set(),
        inlets=[],
        outlets=list(outlets),
        executor_config={},
        params=ParamsDict(),
        _BaseOperator__init_kwargs={},
        **own,
    )
    group.add(task)
    dag.add_task(task)
    return task


def stamp_mapped(
    kind: type[BaseOperator],
    dag: DAG,
    name: str,
    *,
    group: TaskGroup,
    over: BaseOperator,
    label: str,
    own: Mapping[str, Any],
) -> MappedOperator:
    """Add a task that is mapped over what another returns, each labelled with its item.

    This is what `kind.partial(…).expand(…)` makes; that inspects the constructor anew for each task, and
    imports an operator of a provider, which parsing a DAG file should not.
    """
    return MappedOperator(
        operator_class=kind,
        task_id=_id_in(group, name),
        expand_input=DictOfListsExpandInput({label: over.output}),
        partial_kwargs={
            **_ALIKE,
            **retry_arguments(),
            **own,
            "map_index_template": f"{{{{ task.{label} }}}}",
        },
        params=ParamsDict(),
        operator_extra_links=kind.operator_extra_links,
        template_ext=(),
        template_fields=(),
        template_fields_renderers={},
        ui_color=kind.ui_color,
        ui_fgcolor=kind.ui_fgcolor,
        is_empty=False,
        can_skip_downstream=False,
        task_module=kind.__module__,
        task_type=kind.__name__,
        operator_name=kind.__name__,
        start_trigger_args=None,
        start_from_trigger=False,
        dag=dag,
        task_group=group,
        start_date=None,
        end_date=None,
        disallow_kwargs_override=False,
        expand_input_attr="expand_input",
    )


def _id_in(group: TaskGroup, name: str) -> str:
    return f"{group.group_id}.{name}" if group.group_id else name


def edge(before: Task, after: Task) -> None:
    """Let one task wait for another; Airflow's `>>` checks for each edge what the factory knows."""
    before.downstream_task_ids.add(after.task_id)
    after.upstream_task_ids.add(before.task_id)
