"""Who asks Lockstep's pages, and what Airflow's own login and permissions let them do."""

from __future__ import annotations

from typing import Any


def asker() -> Any:
    """Return the dependency that refuses strangers, and says of anybody else who it is and what they may.

    These are modules of Airflow's core and no stable interface, so they are imported nowhere else.
    """
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends

    from lockstep.web.asking import Asker

    def may(method: Any, dag_id: str, user: Any) -> bool:
        return get_auth_manager().is_authorized_dag(
            method=method, access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
        )

    def who(user: Any = Depends(get_user)) -> Asker:  # noqa: B008 - how FastAPI declares a dependency
        return Asker(
            name=str(user.get_name()),
            may_read=lambda dag_id: may("GET", dag_id, user),
            may_start=lambda dag_id: may("POST", dag_id, user),
        )

    return who
