"""A live Airflow and `lockstep deploy`: three at once, one that is killed, an API server that is, and a failure."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import httpx
import live_airflow
import psutil
import pytest
from live_airflow import HERE, fill_users, new_project, until
from revisions import write
from whole_system import own_folder

from lockstep.embedded import running
from lockstep.embedded.airflow import Airflow, airflow_running
from lockstep.embedded.process import free_port

ROWS = 2_000
#: seconds, on a machine that has other things to do
LIMIT = 900.0
#: Small batches of a slow function: a run takes long enough to be met half-way.
SLOWLY = """
import time

def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])

def downgrade():
    yield ops.restore(Users)

def more(row):
    time.sleep(0.002)
    return {**row, "n": row["n"] + 1}
"""
POISON = """
def upgrade():
    yield ops.transform_rows(Users, more, columns=["n"])

def downgrade():
    yield ops.restore(Users)

def more(row):
    if row["id"] == 7:
        raise ValueError("seven cannot be carried")
    return {**row, "n": row["n"] + 1}
"""
SMALL = ("--conf", "shards=1", "--conf", "batch_rows=100", "--conf", "batch_seconds=0.1")


@dataclass(frozen=True, kw_only=True)
class Live(live_airflow.Live):
    airflow: Airflow
    #: what a test started, which ends with the module
    started: list[subprocess.Popen[Any]] = field(default_factory=list)

    def changed(self, by: int) -> int:
        """Return how many rows were incremented so often."""
        return int(self.rows(f"SELECT count(*) FROM users WHERE n = id + {by}")[0][0])

    def runs(self, revision: str) -> list[str]:
        """Return how the ledger's runs of a revision stand."""
        query = f"SELECT status FROM _migration_runs WHERE revision = '{revision}' ORDER BY started_at"
        return [status for (status,) in self.rows(query, "campus_admin")]

    def deploy(self, *arguments: str, user: str = "deploy", url: str = "") -> subprocess.Popen[str]:
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI_"))},
            "LOCKSTEP_AIRFLOW_URL": url or self.airflow.base_url,
            "LOCKSTEP_AIRFLOW_USERNAME": user,
            "LOCKSTEP_AIRFLOW_PASSWORD": self.airflow.home.passwords[user],
        }
        command = [sys.executable, "-m", "lockstep.cli", "deploy", *arguments]
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
        )
        self.started.append(process)
        return process

    def restart_the_api_server(self) -> None:
        """Kill -9 the API server alone, and start another in its place.

        The process that forked it would end all of Airflow: it is stopped until the module ends.
        """
        guard = psutil.Process(self.airflow.child.pid)
        [nursery] = [one for one in guard.children() if "airflow_nursery" in " ".join(one.cmdline())]
        port = int(self.airflow.base_url.rpartition(":")[2])
        [server] = [one for one in nursery.children() if listens(one, port)]
        env, cwd = nursery.environ(), server.cwd()
        nursery.suspend()
        for one in [server, *server.children(recursive=True)]:
            one.kill()
        with (self.servers.root / "logs" / "api-server-2.log").open("ab") as log:
            command = [sys.executable, "-m", "airflow", "api-server"]
            self.started.append(
                subprocess.Popen(command, env=env, cwd=cwd, stdout=log, stderr=log)  # type: ignore[arg-type]
            )


def listens(process: psutil.Process, port: int) -> bool:
    try:
        sockets = process.net_connections(kind="tcp")
    except psutil.NoSuchProcess:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in sockets)


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with own_folder() as folder, running(folder / "data") as servers:
        project = new_project(folder)
        write(project / "migrations", "0001", None, SLOWLY, name="0001_once.py", doc="Count once.")
        write(project / "migrations", "0002", "0001", SLOWLY, name="0002_twice.py", doc="Count twice.")
        write(project / "migrations", "0003", "0002", POISON, name="0003_poison.py", doc="Meet a seven.")
        fill_users(servers, ROWS)
        with (
            airflow_running(
                servers,
                dags=project / "dags",
                plugins=HERE / "plugins",
                migrations=project / "migrations",
                needed={"migrate", "revision_0001_once", "revision_0002_twice", "revision_0003_poison"},
            ) as airflow,
            closing(airflow.client("deploy")) as api,
        ):
            found = Live(servers=servers, airflow=airflow, api=api)
            try:
                yield found
            finally:
                for process in found.started:
                    process.kill()
                    process.wait()
                    if process.stdout is not None:
                        process.stdout.close()
                for child in psutil.Process(airflow.child.pid).children():
                    child.resume()


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=LIMIT)
    return process.returncode, said


def test_two_deploys_and_a_person_at_once_are_one_run_and_three_right_answers(live: Live) -> None:
    deploys = [live.deploy("--key", key, "--target", "0001", *SMALL) for key in ("one", "two")]
    live.api.trigger("migrate", "by-hand", {"target": "0001"})

    ended = [end_of(process) for process in deploys]

    assert [code for code, _ in ended] == [0, 0], ended
    assert live.api.wait("migrate", "by-hand", seconds=LIMIT).state == "success"
    assert live.runs("0001") == ["applied"]
    assert live.changed(by=1) == ROWS
    assert sorted("1 revision(s) applied" in said for _, said in ended) in ([False, True], [False, False])
    assert all("yes: the databases are at '0001'" in said for _, said in ended)


def test_a_plan_changes_nothing(live: Live) -> None:
    before = live.rows("SELECT id, status FROM _migration_runs ORDER BY id", "campus_admin")

    code, said = end_of(live.deploy("--dry-run", "--target", "0002"))

    assert code == 0, said
    assert "plan: 1 revision(s) would move" in said
    assert "0002" in said
    assert live.rows("SELECT id, status FROM _migration_runs ORDER BY id", "campus_admin") == before


def test_a_killed_deploy_attaches_again_and_lives_through_a_restarted_api_server(live: Live) -> None:
    first = live.deploy("--key", "killed", "--target", "0002", *SMALL)
    until(lambda: live.changed(by=2) > 0, "writing")
    first.kill()

    second = live.deploy("--key", "killed", "--target", "0002", *SMALL)
    assert second.stdout is not None
    assert "attached to run 'deploy-killed'" in second.stdout.readline()
    live.restart_the_api_server()
    code, said = end_of(second)

    assert code == 0, said
    assert "Airflow does not answer" in said
    assert "Airflow answers again" in said
    assert live.runs("0002") == ["applied"]
    assert live.changed(by=2) == ROWS


def test_a_failing_revision_is_a_no_with_the_end_of_its_log_and_the_state(live: Live) -> None:
    code, said = end_of(live.deploy("--key", "poison", "--log-lines", "12"))

    assert code == 1, said
    assert "✗ 0003  rolled_back" in said
    assert "seven cannot be carried" in said
    assert said.count("\n  | ") == 12
    assert (
        f"see: {live.airflow.base_url}/dags/revision_0003_poison/runs/deploy-poison__0003_up/tasks/" in said
    )
    assert "What revision 0003 had done is undone" in said
    assert live.changed(by=2) == ROWS

    code, said = end_of(live.deploy("--key", "poison", "--target", "0002"))
    assert code == 2, said
    assert "which was asked for target 'head' and not '0002'" in said


def test_who_may_not_or_cannot_ask_gets_a_two(live: Live) -> None:
    code, said = end_of(live.deploy("--key", "viewer", "--target", "0002", user="viewer"))
    assert code == 2, said
    assert "403" in said
    with pytest.raises(httpx.TransportError):
        httpx.get(away := f"http://127.0.0.1:{free_port()}", trust_env=False)
    code, said = end_of(live.deploy("--key", "away", "--contact", "1", url=away))
    assert code == 2, said
    assert "gave no answer" in said
