"""The whole system, started the way a user starts it, and programs that have none of Lockstep's code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import psutil
import pytest

from lockstep.embedded import Servers
from lockstep.embedded.airflow_api import AirflowApi, DagRun
from lockstep.embedded.postgres import password, pg_bin

HERE = Path(__file__).parent
#: Seconds for a demo to be done, on a machine that has other things to do.
LIMIT = 900.0


@contextmanager
def own_folder() -> Iterator[Path]:
    """Make a folder outside pytest's own, which every session that starts closes to other users: PostgreSQL."""
    with tempfile.TemporaryDirectory(prefix="lockstep-demo-") as made:
        yield Path(made)


def demo_command(root: Path, report: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "lockstep.demo", "--root", str(root), "--report", str(report), *options]


@contextmanager
def demo(root: Path, report: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run a demo in a process of its own; whatever the test says, nothing of it is left."""
    process = subprocess.Popen(
        demo_command(root, report, *options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def run_demo(root: Path, report: Path, *options: str) -> tuple[int, str]:
    """Run a demo to its end and return its exit status and what it said."""
    done = subprocess.run(
        demo_command(root, report, *options), capture_output=True, text=True, timeout=LIMIT, check=False
    )
    return done.returncode, done.stdout + done.stderr


def wait_for_report(process: subprocess.Popen[str], report: Path) -> dict[str, Any]:
    limit = time.monotonic() + LIMIT
    while not report.exists():
        if process.poll() is not None or time.monotonic() > limit:
            process.kill()
            pytest.fail(f"the demo wrote no report; it said:\n{process.communicate()[0]}")
        time.sleep(0.2)
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def processes_of(root: Path) -> list[str]:
    """Return the processes that name the folder or work in it."""
    found = []
    for process in psutil.process_iter(["cmdline", "status", "cwd"]):
        line = " ".join(process.info["cmdline"] or ())
        below = str(root) in line or (process.info["cwd"] or "").startswith(str(root))
        if below and process.info["status"] != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            found.append(line)
    return found


@dataclass(frozen=True, kw_only=True)
class System:
    """A demo that stays up."""

    process: subprocess.Popen[str]
    root: Path
    report: dict[str, Any]
    servers: Servers

    def api(self, user: str = "deploy") -> AirflowApi:
        passwords = json.loads((self.root / "airflow" / "passwords.json").read_text())
        return AirflowApi(self.report["base_url"], user, passwords[user])

    def ask(self, program: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run independent.py or promises.py against the stores."""
        servers = self.servers
        address = f"postgresql://{servers.user}@{servers.host}:{servers.port}"
        command = [
            *(sys.executable, str(HERE / program)),
            *("--postgres", f"{address}/campus_auth", f"{address}/campus_api"),
            *("--mongo", servers.mongo_uri, "--db", "campus"),
            *("--s3-endpoint", servers.s3_endpoint, "--bucket", "campus"),
            *more,
        ]
        env = {
            **os.environ,
            "PGPASSWORD": servers.password,
            "AWS_ACCESS_KEY_ID": servers.s3_access_key,
            "AWS_SECRET_ACCESS_KEY": servers.s3_secret_key,
        }
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    def hashes(self) -> dict[str, str]:
        done = self.ask("independent.py")
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout)
        return found

    def run_to_end(self, dag_id: str, run_id: str, conf: dict[str, Any]) -> DagRun:
        api = self.api()
        try:
            api.trigger(dag_id, run_id, conf)
            return api.wait(dag_id, run_id, seconds=LIMIT)
        finally:
            api.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder for one test."""
    with own_folder() as made:
        yield made


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """Run `make demo SIZE=small` once for all tests, and leave it up."""
    with own_folder() as folder:
        yield from system_in(folder)


def system_in(folder: Path) -> Iterator[System]:
    root, report = folder / "data", folder / "report.json"
    with demo(root, report, "--size", "small") as process:
        found = wait_for_report(process, report)
        servers = Servers(
            root=root,
            ports=MappingProxyType(found["ports"]),
            password=password(root),
            pg_bin=pg_bin(),
        )
        yield System(process=process, root=root, report=found, servers=servers)
    assert processes_of(root) == []
