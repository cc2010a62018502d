"""Who may read Lockstep's pages: whom Airflow's own login and permissions let."""

from __future__ import annotations

from typing import Any


def may_read() -> Any:
    """Return the dependency that refuses strangers, and says of anybody else what they may read.

    These are modules of Airflow's core and no stable interface, so they are imported nowhere else.
    """
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends

    def asker(user: Any = Depends(get_user)) -> Any:  # noqa: B008 - how FastAPI declares a dependency
        return lambda dag_id: get_auth_manager().is_authorized_dag(
            method="GET", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
        )

    return asker
