"""A live Airflow with two environments: side by side, each with its own ledger, and one repaired by a person's word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import boto3
import live_airflow
import psycopg
import pytest
from live_airflow import HERE, new_project
from revisions import write
from whole_system import own_folder

from lockstep.embedded import Servers, running
from lockstep.embedded.airflow import airflow_running
from lockstep.embedded.airflow_errors import AirflowRefusedError

LIMIT = 300.0
ENVIRONMENTS = """
from lockstep.environments import Environment

staging = Environment("staging", default=True)
production = Environment("production", prefix="prod_", approve="never")
"""
#: Fails until there is a table `gate`; what it did to the rows is left.
GATED = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})
    yield ops.run_python(pass_the_gate, touches=Users, reverse=nothing)

def downgrade():
    yield ops.restore(Users)

def verify():
    yield ops.expect_none(Users, where="n <> id + 1")

def pass_the_gate(hands):
    if hands.open(Users).execute("SELECT to_regclass('gate')").fetchone() == (None,):
        raise ValueError("the gate is shut")

def nothing(hands):
    return None
"""
DATABASES = {"staging": ("campus_auth", "campus_admin"), "production": ("auth_prod", "ledger_prod")}


@dataclass(frozen=True, kw_only=True)
class Live(live_airflow.Live):
    def status(self, environment: str) -> str | None:
        """Return what an environment's ledger says of the revision."""
        _, ledger = DATABASES[environment]
        found = self.rows("SELECT status FROM _migrations WHERE id = '0001'", ledger)
        return str(found[0][0]) if found else None

    def end(self, dag_id: str, run_id: str) -> str:
        return self.api.wait(dag_id, run_id, seconds=LIMIT).state


def made(servers: Servers) -> dict[str, str]:
    """Make production's databases and bucket; return its connections."""
    with psycopg.connect(servers.postgres_uri("campus_auth"), autocommit=True) as conn:
        for name in DATABASES["production"]:
            conn.execute(f"CREATE DATABASE {name}".encode())
    given = {
        "endpoint_url": servers.s3_endpoint,
        "region_name": servers.s3_region,
        "aws_access_key_id": servers.s3_access_key,
        "aws_secret_access_key": servers.s3_secret_key,
    }
    with closing(boto3.client("s3", **given)) as s3:
        s3.create_bucket(Bucket="vault-prod")
    plain = {name: json.loads(value) for name, value in servers.airflow_connections().items()}
    auth, ledger, vault = (
        plain[f"AIRFLOW_CONN_{name}"] for name in ("CAMPUS_AUTH", "LOCKSTEP_LEDGER", "LOCKSTEP_VAULT")
    )
    vault["extra"]["service_config"]["s3"]["bucket_name"] = "vault-prod"
    found = {
        "AIRFLOW_CONN_PROD_CAMPUS_AUTH": auth | {"schema": "auth_prod"},
        "AIRFLOW_CONN_PROD_LOCKSTEP_LEDGER": ledger | {"schema": "ledger_prod"},
        "AIRFLOW_CONN_PROD_LOCKSTEP_VAULT": vault,
    }
    return {name: json.dumps(value) for name, value in found.items()}


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with (
        own_folder() as folder,
        running(folder / "data") as servers,
        pytest.MonkeyPatch.context() as patched,
    ):
        project = new_project(folder)
        shutil.copytree(HERE / "plugins", project / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        (project / "include" / "environments.py").write_text(ENVIRONMENTS)
        write(project / "migrations", "0001", None, GATED, name="0001_gated.py")
        plain, more = servers.airflow_connections(), made(servers)
        patched.setattr(Servers, "airflow_connections", lambda self: {**plain, **more})
        with (
            airflow_running(
                servers,
                dags=project / "dags",
                plugins=project / "plugins",
                migrations=project / "migrations",
                needed={"revision_0001_gated", "migrate", "repair", "housekeeping_production"},
            ) as airflow,
            closing(airflow.client("deploy")) as api,
        ):
            found = Live(servers=servers, api=api)
            for database, _ in DATABASES.values():
                found.rows(
                    "CREATE TABLE users (id int PRIMARY KEY, n int NOT NULL); "
                    "INSERT INTO users SELECT i, i FROM generate_series(1, 100) i",
                    database,
                )
            yield found


def test_each_environment_fails_waits_and_is_repaired_for_itself(live: Live) -> None:
    live.rows("CREATE TABLE gate ()", "campus_auth")
    leave = {"on_failure": "leave", "on_undo_failure": "leave"}
    live.api.trigger("migrate", "to-production", {"environment": "production", **leave})
    live.api.trigger("migrate", "to-staging", {})
    with pytest.raises(AirflowRefusedError, match="400"):
        live.api.trigger("migrate", "to-nowhere", {"environment": "nowhere"})

    assert live.end("migrate", "to-staging") == "success"
    assert live.end("migrate", "to-production") == "failed"
    assert (live.status("staging"), live.status("production")) == ("applied", "failed")

    # The pages: each environment's below its own path, and Airflow's tab finds the one that knows the run.
    assert live.api.get("/lockstep/environments") == {"environments": ["staging", "production"]}
    backups = live.api.get("/lockstep/in/production/backups")["backups"]
    assert [one["manifest"].startswith("s3://vault-prod/") for one in backups] == [True]
    assert [one["database"] for one in backups] == ["campus_auth"]

    # A person mends the data by hand, and says so.
    live.rows("UPDATE users SET n = id", "auth_prod")
    said = {"environment": "production", "outcome": "rolled_back", "reason": "rows reset by hand"}
    live.api.trigger("repair", "looked", {**said, "dry_run": True})
    assert live.end("repair", "looked") == "success"
    assert live.status("production") == "failed"
    live.api.trigger("repair", "repaired", said)
    assert live.end("repair", "repaired") == "success"
    assert (live.status("staging"), live.status("production")) == ("applied", "rolled_back")
    ((who, told),) = live.rows(
        "SELECT who, detail::text FROM _migration_history WHERE kind = 'repaired'", "ledger_prod"
    )
    assert (who, json.loads(told)["reason"]) == ("deploy", "rows reset by hand")

    # And the next run needs no help.
    live.rows("CREATE TABLE gate ()", "auth_prod")
    live.api.trigger("migrate", "again", {"environment": "production"})
    assert live.end("migrate", "again") == "success"
    assert live.status("production") == "applied"
    assert live.rows("SELECT count(*) FROM users WHERE n = id + 1", "auth_prod") == [(100,)]
