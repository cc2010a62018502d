"""The relay and the events of Airflow's assets, by a real ledger and Airflow's own database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from driver import PlainLog
from psycopg.conninfo import conninfo_to_dict

from contract.ledgers import fresh_ledger, opened
from lockstep.domain.environment import Environment
from lockstep.domain.errors import Refused
from lockstep.domain.exchange import Event
from lockstep.domain.status import RunStatus
from lockstep.stores.ledger import PostgresLedger

if TYPE_CHECKING:
    from addresses import Addresses

VAULT = {
    "conn_type": "aws",
    "login": "nobody",
    "password": "asks for it",
    "extra": {"service_config": {"s3": {"bucket_name": "vault"}}},
}
APPLIED = "lockstep://default/migration/applied"


def as_connection(conninfo: str) -> dict[str, Any]:
    given = conninfo_to_dict(conninfo)
    return {
        "conn_type": "postgres",
        "host": given["host"],
        "port": int(str(given["port"])),
        "login": given.get("user"),
        "password": given.get("password"),
        "schema": given["dbname"],
    }


@pytest.fixture
def ledger(
    servers: Addresses, home_project: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PostgresLedger]:
    with fresh_ledger(servers) as (made, conninfo):
        monkeypatch.setenv("AIRFLOW_CONN_LOCKSTEP_LEDGER", json.dumps(as_connection(conninfo)))
        monkeypatch.setenv("AIRFLOW_CONN_LOCKSTEP_VAULT", json.dumps(VAULT))
        opened(made, "r1", status=RunStatus.APPLIED)
        yield made


def say(ledger: PostgresLedger, number: int, label: str = "migration.applied") -> str:
    with ledger.unit() as unit:
        return unit.say("r1", label, {"n": number, "revision": "0001", "run": "r1"})


def ran(project: Path, **conf: Any) -> Any:
    from airflow.sdk import timezone

    from lockstep.orchestration.relay import build_relay

    return build_relay(project / "migrations").test(logical_date=timezone.utcnow(), run_conf=conf or None)


def result(dag_run: Any) -> Any:
    return dag_run.get_task_instance("deliver").xcom_pull(task_ids="deliver")


def asset_events(uri: str) -> list[dict[str, Any]]:
    """Return what Airflow's database has of an asset."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        asked = select(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        found = session.scalars(asked.where(AssetModel.uri == uri).order_by(AssetEvent.id))
        return [dict(event.extra) for event in found]


def connection(extra: dict[str, str] | None = None, **given: Any) -> Any:
    from airflow.sdk import Connection

    return Connection(conn_id="", extra=json.dumps(extra or {}), **given)


def test_events_become_asset_events_once_and_are_confirmed(
    home_project: Path, ledger: PostgresLedger
) -> None:
    before = len(asset_events(APPLIED))
    first, second = say(ledger, 1), say(ledger, 2)

    assert result(ran(home_project)) == {"airflow assets": {"delivered": 0, "handed": 2, "waiting": 0}}
    assert [one["id"] for one in asset_events(APPLIED)][before:] == [first, second]
    (told,) = (one for one in asset_events(APPLIED) if one["id"] == first)
    assert told["n"] == 1
    assert (told["environment"], told["version"], told["label"]) == ("default", 1, "migration.applied")

    # The next round looks whether Airflow has them; nothing is left to do after it.
    assert result(ran(home_project)) == {"airflow assets": {"delivered": 2, "waiting": 0}}
    assert result(ran(home_project)) == {}
    assert len(asset_events(APPLIED)) == before + 2
    assert ledger.busy_sinks(["airflow assets"]) == []


def test_a_dry_run_says_what_waits_and_writes_nothing(home_project: Path, ledger: PostgresLedger) -> None:
    say(ledger, 1, "migration.started")
    assert result(ran(home_project, dry_run=True)) == {"plan": {"airflow assets": {"waiting": 1}}}
    assert ledger.waiting_for("airflow assets") == 1
    assert asset_events("lockstep://default/migration/started") == []


def test_a_connection_that_cannot_be_used_makes_the_relay_red(
    home_project: Path, ledger: PostgresLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LOCKSTEP_YAPPER", '{"conn_type": "mysql", "host": "h"}')
    say(ledger, 1)
    ended = ran(home_project)
    assert str(ended.state) == "failed"
    assert ledger.waiting_for("yapper") == 1


def test_an_unknown_parameter_is_refused(home_project: Path, ledger: PostgresLedger) -> None:
    assert str(ran(home_project, at_onec=True).state) == "failed"


def test_the_schedule_comes_from_the_environment_and_may_be_empty(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockstep.orchestration.relay import build_relays

    monkeypatch.delenv("LOCKSTEP_RELAY_SCHEDULE", raising=False)
    dag = build_relays(project / "migrations")["relay"]
    assert dag.schedule == "*/5 * * * *"
    assert (dag.max_active_runs, dag.catchup, dag.is_paused_upon_creation) == (1, False, False)
    dag.params.validate()
    monkeypatch.setenv("LOCKSTEP_RELAY_SCHEDULE", "")
    assert build_relays(project / "migrations")["relay"].schedule is None


def test_every_task_that_delivers_has_the_outlet_unless_it_is_switched_off(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockstep.orchestration.factory import build_revision_dags
    from lockstep.orchestration.relay import build_relay
    from lockstep.orchestration.restore import build_restore

    def named() -> set[str]:
        folder = project / "migrations"
        tasks = [dag.task_dict["emit"] for dag in build_revision_dags(folder).values()]
        tasks += [build_restore(folder).task_dict["emit"], build_relay(folder).task_dict["deliver"]]
        return {outlet.name for task in tasks for outlet in task.outlets}

    monkeypatch.delenv("LOCKSTEP_ASSETS", raising=False)
    assert named() == {"lockstep"}
    monkeypatch.setenv("LOCKSTEP_ASSETS", "0")
    assert named() == set()


def test_webhooks_are_found_by_their_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep.orchestration import sinks

    log = PlainLog()
    http = {"conn_type": "http", "host": "https://a.example"}
    known: dict[str, Any] = {
        "live_lockstep_webhook": connection(**http, extra={"signing_secret": "whsec_abcd", "X-Team": "a"}),
        "live_audit": connection(**http),
        "live_wrong": connection(conn_type="mysql", host="h"),
    }
    for conn_id, one in known.items():
        one.conn_id = conn_id
    masked: list[str] = []
    monkeypatch.setattr("lockstep.orchestration.connections.lookup", known.get)
    monkeypatch.setattr(sinks, "lookup", known.get)
    monkeypatch.setattr("lockstep.orchestration.announcers.mask", masked.extend)
    monkeypatch.setattr(sinks.assets, "sink", lambda environment: ())
    live = Environment("live", prefix="live_")

    monkeypatch.delenv("LOCKSTEP_WEBHOOK_CONN_IDS", raising=False)
    (one,) = sinks.configured(log, live)
    assert one.name == "webhook lockstep_webhook"
    assert one._endpoint.secret == "whsec_abcd"
    assert one._endpoint.headers == {"X-Team": "a"}
    assert "whsec_abcd" in masked
    assert "whsec_abcd" not in repr(one)

    monkeypatch.setenv("LOCKSTEP_WEBHOOK_CONN_IDS", "lockstep_webhook, audit,wrong,missing")
    found = sinks.configured(log, live)
    assert [one.name for one in found] == ["webhook lockstep_webhook", "webhook audit", "webhook wrong"]
    assert any("is not signed" in line and "live_audit" in line for line in log.lines)
    assert any("'live_missing'" in line for line in log.lines)
    event = Event(id="e", label="migration.applied", data={}, at=datetime.now(timezone.utc))
    with pytest.raises(Refused, match="must be 'http'"):
        found[2].deliver(event, tried_before=False)
