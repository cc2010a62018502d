"""Events as Airflow's own: other DAGs are scheduled on what migrations do.

Airflow takes an asset event together with the task's success, in one transaction, and not before. What is handed to
a task therefore counts as delivered only once Airflow is seen to have it, and is handed over again where the task died.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias

from lockstep.domain.environment import Environment
from lockstep.domain.events import payload

if TYPE_CHECKING:
    from lockstep.domain.exchange import Event
    from lockstep.engine.ports import Sink

#: what all assets are known by together
ALIAS = "lockstep"
#: "0" switches them off
SWITCH = "LOCKSTEP_ASSETS"
#: how much the clocks of ledger and Airflow may differ
_CLOCKS = timedelta(hours=1)


def switched_on() -> bool:
    return os.environ.get(SWITCH, "").strip().lower() not in ("0", "false", "no")


def outlets() -> list[AssetAlias]:
    """Return the outlets of a task that delivers events. An alias: a plain asset would say that it all happened."""
    return [AssetAlias(ALIAS)] if switched_on() else []


def uri_of(environment: str, label: str) -> str:
    """Return the asset of a label, such as lockstep://production/migration/applied."""
    return f"lockstep://{environment}/{label.replace('.', '/')}"


def sink(environment: Environment) -> tuple[Sink, ...]:
    """Return the sink of the task that runs here, if it has the outlet."""
    from airflow.sdk import get_current_context

    context: Any = get_current_context()
    if not any(isinstance(outlet, AssetAlias) and outlet.name == ALIAS for outlet in context["task"].outlets):
        return ()
    return (AssetSink(context, environment.name),)


class AssetSink:
    """Let the current task say what happened, each event once as an event of its label's asset."""

    name = "airflow assets"
    #: a task ends within seconds of its deliveries
    settles = 120.0
    #: what happened days ago is to start nothing today
    horizon = 86_400.0

    def __init__(self, context: Any, environment: str) -> None:
        ti = context["ti"]
        self._outlet = context["outlet_events"][AssetAlias(ALIAS)]
        self._environment = environment
        self.carrier = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}[{ti.map_index}] try {ti.try_number}"

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        from airflow.sdk import Asset

        self._outlet.add(Asset(uri_of(self._environment, event.label)), extra=payload(event))

    def arrived(self, event: Event) -> bool:
        """Look among Airflow's events of the asset for this one's id."""
        from airflow.sdk.execution_time.context import InletEventsAccessor

        uri = uri_of(self._environment, event.label)
        found = InletEventsAccessor(asset_name=uri, asset_uri=uri).after(_from(event.at))
        return any((one.extra or {}).get("id") == event.id for one in found)


def _from(at: datetime) -> str:
    return (at - _CLOCKS).isoformat()
