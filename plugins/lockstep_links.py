"""Airflow finds Lockstep's links and pages here."""

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from lockstep.domain.errors import LockstepError
from lockstep.orchestration.links import ALL_LINKS, PREFIX


class LockstepPlugin(AirflowPlugin):
    """Register the links on tasks, and the pages that they lead to."""

    name = "lockstep"
    operator_extra_links = list(ALL_LINKS)  # noqa: RUF012 - Airflow's own shape of it
    #: a tab of each DAG run: its entry in the ledger, where it is paused and resumed
    external_views = [  # noqa: RUF012
        {
            "name": "Lockstep",
            "href": f"{PREFIX.lstrip('/')}/dag-runs/{{DAG_ID}}/{{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "lockstep",
        },
        {
            "name": "Parked and drift",
            "href": f"{PREFIX.lstrip('/')}/parked",
            "destination": "nav",
            "category": "browse",
            "url_route": "lockstep-parked",
        },
        {
            "name": "Plan",
            "href": f"{PREFIX.lstrip('/')}/plan",
            "destination": "nav",
            "category": "browse",
            "url_route": "lockstep-plan",
        },
        {
            "name": "Ways back",
            "href": f"{PREFIX.lstrip('/')}/readiness",
            "destination": "nav",
            "category": "browse",
            "url_route": "lockstep-readiness",
        },
        {
            "name": "Backups",
            "href": f"{PREFIX.lstrip('/')}/backups",
            "destination": "nav",
            "category": "browse",
            "url_route": "lockstep-backups",
        },
        {
            "name": "History",
            "href": f"{PREFIX.lstrip('/')}/history",
            "destination": "nav",
            "category": "browse",
            "url_route": "lockstep-history",
        },
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Build the pages when the API server asks: every task process loads plugins, and needs none."""
        from lockstep.orchestration import access
        from lockstep.orchestration.project import migrations_folder, prefer_include
        from lockstep.orchestration.readers import readers
        from lockstep.web.app import create_app
        from lockstep.web.environments import create_broken_app

        prefer_include(__file__)
        try:
            reader, others = readers(migrations_folder(__file__))
            app = create_app(reader, access.asker(), others)
        except LockstepError as problem:
            app = create_broken_app(str(problem), access.asker())
        return [{"name": "Lockstep", "url_prefix": PREFIX, "app": app}]
