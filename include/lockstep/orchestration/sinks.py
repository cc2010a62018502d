"""Where an environment's events go: every sink that Airflow has a connection for, and Airflow's own assets."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lockstep.domain.environment import Environment
from lockstep.domain.errors import Refused
from lockstep.orchestration import assets
from lockstep.orchestration.announcers import SIGNED_WITH, WEBHOOK, endpoint
from lockstep.orchestration.connections import fetch, lookup, postgres_conninfo
from lockstep.orchestration.links import PREFIX, base_url
from lockstep.orchestration.wiring import YAPPER, conn_id_in, conn_id_of

if TYPE_CHECKING:
    from lockstep.engine.ports import Sink
    from lockstep.engine.services import Log

#: ids of the connections to webhooks, with commas between them; the one of rehearsals where it is not set
WEBHOOKS = "LOCKSTEP_WEBHOOK_CONN_IDS"


def configured(log: Log, environment: Environment) -> tuple[Sink, ...]:
    """Return where events go. A connection that cannot be used stands for a sink that refuses, and says why."""
    found = _yapper(log, environment)
    for logical in webhook_ids():
        found += _webhook(log, environment, logical)
    return (*found, *assets.sink(environment))


def webhook_ids() -> list[str]:
    """Return the logical ids of the connections to webhooks."""
    named = os.environ.get(WEBHOOKS, "").split(",")
    return [name.strip() for name in named if name.strip()] or [conn_id_of(WEBHOOK)]


def _yapper(log: Log, environment: Environment) -> tuple[Sink, ...]:
    from lockstep.stores.yapper import YapperSink

    def made(connection: Any) -> Sink:
        return YapperSink(postgres_conninfo(connection), conn_id=connection.conn_id)

    conn_id = conn_id_in(environment, YAPPER)
    return _made(log, conn_id, "postgres", "Yapper, the event broker", YapperSink.name, made)


def _webhook(log: Log, environment: Environment, logical: str) -> tuple[Sink, ...]:
    from lockstep.stores.sinks import WebhookSink

    name = f"webhook {logical}"

    def made(connection: Any) -> Sink:
        if not connection.extra_dejson.get(SIGNED_WITH):
            log.warning(
                f"what goes to {name} is not signed: the Airflow connection {connection.conn_id!r} has no "
                f"{SIGNED_WITH} in its extra"
            )
        return WebhookSink(name, endpoint(connection), source=f"{base_url()}{PREFIX}")

    conn_id = environment.conn_id(logical)
    return _made(log, conn_id, "http", "a webhook that is told of migrations", name, made)


def _made(
    log: Log, conn_id: str, wanted: str, purpose: str, name: str, made: Callable[[Any], Sink]
) -> tuple[Sink, ...]:
    from lockstep.stores.sinks import BrokenSink

    if lookup(conn_id) is None:
        log.info(
            f"there is no Airflow connection {conn_id!r}, {purpose}: nothing is sent there", conn_id=conn_id
        )
        return ()
    try:
        return (made(fetch(conn_id, wanted, purpose)),)
    except Refused as problem:
        return (BrokenSink(name, problem),)
