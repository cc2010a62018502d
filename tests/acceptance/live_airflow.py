"""What tests against a live Airflow share: a project of their own, a table, and ways to look and to wait."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from lockstep.embedded import Servers
from lockstep.embedded.airflow_api import AirflowApi

HERE = Path(__file__).resolve().parents[2]
#: seconds for whatever a test waits for, on a machine that has other things to do
LIMIT = 900.0


@dataclass(frozen=True, kw_only=True)
class Live:
    """The servers, and Airflow as whoever asks it."""

    servers: Servers
    api: AirflowApi

    def rows(self, query: str, database: str = "campus_auth") -> list[Any]:
        """Return what a statement answers: no rows for one that answers with none."""
        with psycopg.connect(self.servers.postgres_uri(database), autocommit=True) as conn:
            done = conn.execute(query.encode())
            return done.fetchall() if done.description else []


def until(holds: Callable[[], bool], what: str, seconds: float = LIMIT) -> None:
    limit = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < limit, f"after {seconds:.0f} s: not {what}"
        time.sleep(0.2)


def new_project(folder: Path) -> Path:
    """Make a project with the real DAG files and resources, and no revision yet."""
    project = folder / "project"
    shutil.copytree(HERE / "dags", project / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    (project / "include").mkdir()
    shutil.copy(HERE / "include" / "resources.py", project / "include")
    (project / "migrations").mkdir()
    return project


def fill_users(servers: Servers, rows: int, database: str = "campus_auth") -> None:
    """Make the table `users`, whose n is its id until a revision counts it up."""
    with psycopg.connect(servers.postgres_uri(database), autocommit=True) as conn:
        conn.execute("CREATE TABLE users (id int PRIMARY KEY, n int NOT NULL)")
        conn.execute(f"INSERT INTO users SELECT i, i FROM generate_series(1, {rows}) i".encode())
