"""Every DAG can be asked only what it would do, and then writes nothing: by the servers' own counters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from driver import Driver, PlainLog
from looking import quiet, settle, unchanged
from psycopg.conninfo import conninfo_to_dict
from world import World, factory_of, world

__all__ = ["world"]

#: what a form has to say, by DAG
CONF: dict[str, dict[str, Any]] = {
    "rollback": {"target": "previous"},
    "revision_0001_accounts": {"direction": "downgrade"},
}
#: those that a run of this world is refused, dry or not: it writes nothing either
REFUSED = {"revision_0003_rows", "baseline", "repair", "accept_checksum"}


def connect(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Airflow's connections lead to the test's own databases and buckets."""

    def pg(uri: str) -> dict[str, Any]:
        given = conninfo_to_dict(uri)
        return {
            "conn_type": "postgres",
            "host": given["host"],
            "port": int(str(given["port"])),
            "login": given["user"],
            "password": given["password"],
            "schema": given["dbname"],
        }

    def s3(bucket: str) -> dict[str, Any]:
        kwargs = world.s3_kwargs
        return {
            "conn_type": "aws",
            "login": kwargs["aws_access_key_id"],
            "password": kwargs["aws_secret_access_key"],
            "extra": {
                "endpoint_url": kwargs["endpoint_url"],
                "region_name": kwargs.get("region_name", "us-east-1"),
                "service_config": {"s3": {"bucket_name": bucket}},
            },
        }

    host, _, port = world.mongo_uri.split("://")[1].split("/")[0].rpartition("@")[2].partition(":")
    found = {
        "campus_auth": pg(world.auth_uri),
        "lockstep_ledger": pg(world.ledger_uri),
        "campus_documents": {
            "conn_type": "mongo",
            "host": host,
            "port": int(port or 27017),
            "schema": world.mongo_db,
        },
        "campus_objects": s3(world.bucket),
        "lockstep_vault": s3(world.vault),
    }
    for name, given in found.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(given))
    monkeypatch.setenv("LOCKSTEP_PG_BIN", str(world.pg_bin or ""))


@pytest.fixture
def live(home_project: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a world in which the first revision of the project is applied."""
    import time

    from lockstep.orchestration.project import prefer_include

    prefer_include(str(home_project / "dags" / "migrate.py"))
    connect(world, monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    log = PlainLog()
    driver = Driver(services=factory_of(world, log), migrations=home_project / "migrations", log=log)
    assert driver.go("0001").status == "applied", log.text
    world.insert("submissions", [{"_id": 1}])
    world.put("uploads/a", b"1")
    return world


def dags(project: Path) -> dict[str, Any]:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(project / "dags"))
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_every_dag_can_be_asked_only_what_it_would_do(home_project: Path) -> None:
    missing = [dag_id for dag_id, dag in dags(home_project).items() if "dry_run" not in dag.params]

    assert missing == []


def test_a_dry_run_of_each_dag_writes_nothing_and_ends_green(home_project: Path, live: World) -> None:
    from airflow.sdk import timezone

    (run_id,) = live.rows("SELECT id FROM _migration_runs", live.ledger_uri)[0]
    conf = {**CONF, "restore": {"backup": run_id}}
    ended: dict[str, Any] = {}

    def run(dag_id: str, dag: Any) -> None:
        given = {**conf.get(dag_id, {}), "dry_run": True}
        ended[dag_id] = dag.test(logical_date=timezone.utcnow(), run_conf=given)

    with quiet(live):
        settle(live)
        for dag_id, dag in dags(home_project).items():
            unchanged(live, lambda dag_id=dag_id, dag=dag: run(dag_id, dag), settled=True)  # type: ignore[misc]
            states = {ti.task_id: str(ti.state) for ti in ended[dag_id].get_task_instances()}
            assert str(ended[dag_id].state) == ("failed" if dag_id in REFUSED else "success"), states

    def result(dag_id: str, task: str) -> Any:
        return ended[dag_id].get_task_instance(task).xcom_pull(task_ids=task)

    migrate = result("migrate", "plan")
    assert [step["revision"] for step in migrate["plan"]] == ["0002", "0003"]
    assert migrate["plan"][0]["operations"][1]["records"] == 1
    assert {check["state"] for check in migrate["checks"]} <= {"ok", "warning"}
    states = {ti.task_id: str(ti.state) for ti in ended["migrate"].get_task_instances()}
    assert states == {"plan": "success", "approve": "skipped", "follow": "skipped"}
    assert [step["direction"] for step in result("rollback", "plan")["plan"]] == ["downgrade"]
    assert [step["revision"] for step in result("revision_0002_three_stores", "open_run")["plan"]] == ["0002"]
    assert result("revision_0001_accounts", "open_run")["plan"][0]["readiness"]
    assert run_id in " ".join(result("restore", "choose")["plan"])
    assert result("rehearse", "open")["revisions"] == ["0002", "0003"]
    assert result("housekeeping", "outcome")["dry_run"] is True
