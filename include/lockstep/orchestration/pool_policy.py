"""Pools of each environment's own: a cluster policy, for whoever declares several environments.

A DAG names the pool of a task when its file is read, before anybody says in which environment a run works. Airflow
lets a policy of the scheduler's say otherwise once the run is known: in `airflow_local_settings.py`

    from lockstep.orchestration.pool_policy import task_instance_mutation_hook
    from lockstep.orchestration.project import prefer_include

    prefer_include("/opt/airflow/dags/migrate.py")

The last line tells the scheduler, which reads no DAG file, where the project is. Without them the pools are those that
the DAG names.
"""

from __future__ import annotations

import os
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.pools import in_environment

__all__ = ["task_instance_mutation_hook"]


def task_instance_mutation_hook(task_instance: Any, dag_run: Any) -> None:
    """Put a task of a step into the pool of the database that it works on in the run's environment.

    The scheduler calls it inside a transaction of its own, with the run where it knows it: nothing is asked of a
    database here, and nothing is raised.
    """
    # Not at the top: Airflow imports this while it reads its own settings.
    from lockstep.orchestration.environments import ENVIRONMENT, environment_of
    from lockstep.orchestration.retries import POOL

    if dag_run is None or task_instance.pool == os.environ.get(POOL):
        return
    try:
        environment = environment_of({ENVIRONMENT: (dag_run.conf or {}).get(ENVIRONMENT)})
    except LockstepError:
        return  # the run's own first task refuses the name, and says which there are
    task_instance.pool = in_environment(str(task_instance.pool), environment)
