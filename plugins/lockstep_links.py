"""Airflow finds Lockstep's links and pages here."""

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

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
    ]

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """Build the pages when the API server asks: every task process loads plugins, and needs none."""
        from lockstep.orchestration import access, wiring
        from lockstep.orchestration.project import migrations_folder, prefer_include
        from lockstep.orchestration.readiness import readiness_now
        from lockstep.web.app import create_app
        from lockstep.web.read import Reader

        prefer_include(__file__)
        reader = Reader(
            ledger=wiring.ledger,
            uri=lambda path: wiring.vault().uri(path),
            kept=lambda path: wiring.vault().get(path),
            ready=lambda revisions: readiness_now(migrations_folder(__file__), revisions),
        )
        return [{"name": "Lockstep", "url_prefix": PREFIX, "app": create_app(reader, access.asker())}]
