"""Environments in Airflow: every form has them, every connection goes through them, and pages lie apart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from scripted_engine import ScriptedEngine

from lockstep.domain.errors import DeclarationError, Refused
from lockstep.domain.resources import Bucket, Mongo, Postgres
from lockstep.web.app import create_app
from lockstep.web.asking import Asker
from lockstep.web.read import Reader

DECLARED = """
from lockstep.environments import Environment

staging = Environment("staging", prefix="staging_", default=True)
production = Environment("production", prefix="prod_", connections={"campus_auth": "pg_auth_eu"})
"""
FORMS = {
    "revisions": "revision_0001_accounts",
    "migrate": "migrate",
    "rollback": "rollback",
    "restore": "restore",
    "rehearse": "rehearse",
    "housekeeping": "housekeeping",
    "baseline": "baseline",
    "repair": "repair",
    "accept_checksum": "accept_checksum",
}


@pytest.fixture
def two(project: Path) -> Path:
    """Return a project that has two environments, as its DAG files find it."""
    from lockstep.orchestration.project import prefer_include

    (project / "include" / "environments.py").write_text(DECLARED)
    prefer_include(str(project / "dags" / "migrate.py"))
    return project


def dags(project: Path, name: str) -> dict[str, Any]:
    import runpy

    from airflow.sdk import DAG

    found = runpy.run_path(str(project / "dags" / f"{name}.py"))
    return {value.dag_id: value for value in found.values() if isinstance(value, DAG)}


@pytest.mark.parametrize(("file", "dag_id"), FORMS.items())
def test_every_form_offers_the_environments(two: Path, file: str, dag_id: str) -> None:
    param = dags(two, file)[dag_id].params.get_param("environment")

    assert (param.value, param.schema["enum"]) == ("staging", ["staging", "production"])


def test_without_a_declaration_there_is_one_and_everything_is_as_before(project: Path) -> None:
    found = dags(project, "housekeeping")

    assert list(found) == ["housekeeping"]
    param = found["housekeeping"].params.get_param("environment")
    assert (param.value, param.schema["enum"]) == ("default", ["default"])


def test_what_runs_by_a_schedule_is_there_for_each_environment(two: Path) -> None:
    found = dags(two, "housekeeping")

    usual = {name: dag.params["environment"] for name, dag in found.items()}
    assert usual == {"housekeeping": "staging", "housekeeping_production": "production"}


def test_a_faulty_declaration_is_an_import_error_that_names_the_file(two: Path) -> None:
    (two / "include" / "environments.py").write_text(DECLARED.replace("prod_", "staging_"))

    with pytest.raises(DeclarationError, match=r"environments\.py: .*both call 'lockstep_ledger'"):
        dags(two, "migrate")


def test_the_variable_names_the_default_where_none_is_declared(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockstep.orchestration.environments import environment_of

    (two / "include" / "environments.py").write_text(DECLARED.replace(", default=True", ""))
    assert environment_of({}).name == "staging"
    monkeypatch.setenv("LOCKSTEP_ENVIRONMENT", "production")
    assert environment_of({}).name == "production"
    assert environment_of({"environment": "staging"}).name == "staging"
    with pytest.raises(Refused, match="no environment 'moon'"):
        environment_of({"environment": "moon"})


PG = {"conn_type": "postgres", "host": "db", "login": "u", "password": "p"}
S3 = {"conn_type": "aws", "login": "k", "password": "s"}


def s3(bucket: str) -> dict[str, Any]:
    return {**S3, "extra": {"region_name": "x", "service_config": {"s3": {"bucket_name": bucket}}}}


CONNECTIONS = {
    "prod_lockstep_ledger": {**PG, "schema": "ledger_prod"},
    "staging_lockstep_ledger": {**PG, "schema": "ledger_staging"},
    "prod_lockstep_vault": s3("vault-prod"),
    "pg_auth_eu": {**PG, "schema": "auth_prod"},
    "staging_campus_auth": {**PG, "schema": "auth_staging"},
    "prod_campus_documents": {"conn_type": "mongo", "host": "m", "schema": "documents_prod"},
    "prod_campus_objects": s3("objects-prod"),
}


@pytest.fixture
def connected(two: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, given in CONNECTIONS.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(given))
    return two


class _Log:
    def info(self, event: str, **fields: Any) -> None: ...

    warning = error = info


def test_every_connection_is_the_environment_s_and_names_stay_what_they_are(connected: Path) -> None:
    from lockstep.orchestration.wiring import services_for

    services = services_for({"environment": "production"}, _Log())  # type: ignore[arg-type]

    assert services.environment.name == "production"
    ledger: Any = services.ledger
    assert "ledger_prod" in ledger._connections.address
    assert services.vault.uri("x") == "s3://vault-prod/x"
    store: Any = services.stores(Postgres("campus_auth"))
    assert store.database == Postgres("campus_auth")
    services.stores(Mongo("campus_documents"))
    services.stores(Bucket("campus_objects"))
    with pytest.raises(Refused, match="no Airflow connection 'prod_campus_api'"):
        services.stores(Postgres("campus_api"))
    with pytest.raises(Refused, match="no Airflow connection 'staging_lockstep_vault'"):
        services_for({}, _Log())  # type: ignore[arg-type]
    with pytest.raises(Refused, match="no environment 'moon'"):
        services_for({"environment": "moon"}, _Log())  # type: ignore[arg-type]


def test_a_rehearsal_knows_what_is_live_in_every_environment(connected: Path) -> None:
    from lockstep.orchestration.backstage import live_names
    from lockstep.orchestration.environments import environments

    declared = environments()
    databases = [Postgres("campus_auth"), Mongo("campus_documents"), Bucket("campus_objects")]

    assert live_names(databases, declared.get("production")) == {
        "ledger_prod",
        "auth_prod",
        "documents_prod",
        "objects-prod",
        "ledger_staging",
        "auth_staging",
    }
    # What the environment itself lacks is refused; what another lacks is not.
    with pytest.raises(Refused, match="staging_campus_documents"):
        live_names(databases, declared.get("staging"))


def test_migrate_passes_its_environment_on(two: Path) -> None:
    from lockstep.orchestration.params import passed_on

    assert passed_on({"environment": "production", "target": "head"}) == {"environment": "production"}


def test_a_policy_puts_a_task_into_its_environment_s_pool(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pluggy
    from airflow import policies

    from lockstep.orchestration import pool_policy

    # As Airflow registers what airflow_local_settings.py names.
    manager = pluggy.PluginManager(policies.local_settings_hookspec.project_name)
    manager.add_hookspecs(policies)
    policies.make_plugin_from_local_settings(manager, pool_policy, {"task_instance_mutation_hook"})
    monkeypatch.setenv("LOCKSTEP_POOL", "lockstep_tasks")

    def pool(conf: Any, named: str = "lockstep_campus_api") -> str:
        instance = SimpleNamespace(pool=named)
        manager.hook.task_instance_mutation_hook(task_instance=instance, dag_run=SimpleNamespace(conf=conf))
        return str(instance.pool)

    assert pool({"environment": "production"}) == "lockstep_prod_campus_api"
    assert pool({"environment": "production"}, "lockstep_campus_auth") == "lockstep_pg_auth_eu"
    assert pool({}) == "lockstep_staging_campus_api"
    assert pool({"environment": "moon"}) == "lockstep_campus_api"
    assert pool(None, "default_pool") == "default_pool"
    assert pool({"environment": "production"}, "lockstep_tasks") == "lockstep_tasks"


def test_links_lead_to_the_environment_s_pages(two: Path, engine: ScriptedEngine) -> None:
    from lockstep.orchestration.environments import environment_of, pages_of
    from lockstep.orchestration.links import LEDGER_ENTRY, REHEARSAL_REPORT

    pages = pages_of(environment_of({"environment": "production"}))
    operator = SimpleNamespace(ledger_run="0001-up-1", pages=pages)
    key = SimpleNamespace(dag_id="d", run_id="r")

    assert LEDGER_ENTRY.get_link(operator, ti_key=key) == "/lockstep/in/production/runs/0001-up-1"
    assert REHEARSAL_REPORT.get_link(operator, ti_key=key) == "/lockstep/in/production/dag-runs/d/r/rehearsal"


# --- the pages ----------------------------------------------------------------------------------------------


class _Ledger:
    def __init__(self, dag_run: str, fails: bool = False) -> None:
        self.dag_run = dag_run
        self.fails = fails

    def run_of(self, dag_id: str, dag_run_id: str) -> Any:
        if self.fails:
            raise Refused("the ledger is away")
        return SimpleNamespace(id=f"run-of-{self.dag_run}") if dag_run_id == self.dag_run else None

    def stored_backups(self, **asked: Any) -> list[Any]:
        return []


def app(**ledgers: _Ledger) -> FastAPI:
    readers = {
        name: Reader(ledger=lambda one=one: one, uri=lambda path: path)  # type: ignore[misc]
        for name, one in ledgers.items()
    }
    asker = Asker(name="ann", may_read=lambda dag_id: dag_id != "secret", may_start=lambda dag_id: False)
    return create_app(next(iter(readers.values())), lambda: asker, readers)


def get(made: FastAPI, path: str) -> httpx.Response:
    """Ask as a browser does: Airflow mounts the pages below a path of theirs."""
    airflow = FastAPI()
    airflow.mount("/lockstep", made)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=airflow)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
            return await client.get(f"/lockstep{path}")

    return asyncio.run(ask())


def test_each_environment_has_pages_of_its_own() -> None:
    made = app(staging=_Ledger("manual__1"), production=_Ledger("manual__2"))

    assert get(made, "/in/production/backups").json() == {"backups": []}
    assert get(made, "/backups?environment=production&removed=1").headers["location"] == (
        "/lockstep/in/production/backups?removed=1"
    )
    unknown = get(made, "/backups?environment=moon")
    assert (unknown.status_code, unknown.json()) == (404, {"detail": "there is no environment 'moon'"})
    assert get(made, "/environments").json() == {"environments": ["staging", "production"]}


def test_a_dag_run_is_found_in_whichever_ledger_knows_it() -> None:
    made = app(staging=_Ledger("manual__1"), production=_Ledger("manual__2"))

    found = get(made, "/dag-runs/migrate/manual__2/backup")
    assert found.headers["location"] == "/lockstep/in/production/dag-runs/migrate/manual__2/backup"
    there = get(made, "/in/production/dag-runs/migrate/manual__2")
    assert there.headers["location"] == "/lockstep/in/production/runs/run-of-manual__2"
    missing = get(made, "/dag-runs/migrate/manual__3")
    assert missing.status_code == 404
    assert "migrate / manual__3" in missing.json()["detail"], "lockstep deploy knows it by this"
    assert get(made, "/dag-runs/secret/manual__2").status_code == 403


def test_a_faulty_declaration_lets_the_api_server_start_and_says_so(
    two: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import runpy
    import shutil

    from lockstep.orchestration import access

    (two / "include" / "environments.py").write_text("nonsense")
    root = Path(__file__).parents[2]
    shutil.copytree(root / "plugins", two / "plugins")
    monkeypatch.setattr(access, "asker", lambda: lambda: None)
    plugin = runpy.run_path(str(two / "plugins" / "lockstep_links.py"))["LockstepPlugin"]()

    (listed,) = plugin.fastapi_apps
    answer = get(listed["app"], "/backups")
    assert answer.status_code == 503
    assert "environments.py cannot be imported (NameError" in answer.json()["detail"]


def test_a_ledger_that_is_away_hides_no_other() -> None:
    made = app(staging=_Ledger("manual__1", fails=True), production=_Ledger("manual__2"))

    assert get(made, "/dag-runs/migrate/manual__2").status_code == 307
    assert get(made, "/dag-runs/migrate/manual__3").status_code == 503
