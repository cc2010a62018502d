"""Start and stop Airflow over the embedded PostgreSQL, below the same folder."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import httpx
import psutil
import psycopg

from lockstep.domain.pools import SWITCH, pools
from lockstep.embedded import airflow_home
from lockstep.embedded.airflow_api import AirflowApi
from lockstep.embedded.airflow_errors import DagsMissingError
from lockstep.embedded.airflow_home import Home
from lockstep.embedded.airflow_settings import address, environment
from lockstep.embedded.interrupts import held_interrupts
from lockstep.embedded.process import Child, Spec, alive, end, end_stranger, failure, free_port, spawn
from lockstep.embedded.servers import Servers

GUARD = Path(__file__).with_name("guard.py")
NURSERY = "lockstep.embedded.airflow_nursery"
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
#: What the health report calls the components that have a heartbeat.
BEATING = ("scheduler", "dag_processor", "triggerer")
#: Seconds that Airflow gets to answer, and to end before it is killed with all that it forked.
START_LIMIT = 180.0
GRACE = 4.0
POLL = 0.2
#: How connections are named in the environment, and those of Lockstep itself among them.
CONNECTION = "AIRFLOW_CONN_"
OWN = "lockstep_"


@dataclass(frozen=True, kw_only=True)
class Airflow:
    """Say where the Airflow of one session is, and how to reach it."""

    base_url: str
    home: Home
    started: datetime
    #: The process that guards the components.
    child: Child = field(repr=False, compare=False)

    @cached_property
    def api(self) -> AirflowApi:
        """Return the client of the user who deploys."""
        return self.client("deploy")

    def client(self, user: str) -> AirflowApi:
        """Return a client of a user: admin, deploy or viewer."""
        return AirflowApi(self.base_url, user, self.home.passwords[user])

    def check(self) -> None:
        """Raise ServerFailedError if a component has ended by itself."""
        if not alive(self.child):
            raise failure(self.child.spec, f"it ended with exit code {self.child.process.returncode}")


def start_airflow(
    servers: Servers, *, dags: Path, plugins: Path, migrations: Path, port: int | None = None
) -> Airflow:
    """Start the components, without waiting for them: see wait_until_up.

    The metadata's schema is made first if it is not there. Call it from a thread that lives as long as
    Airflow should.
    """
    chosen = port or free_port()
    home = airflow_home.prepare(servers.root)
    env = environment(
        home,
        port=chosen,
        database_uri=servers.airflow_db_uri(),
        variables={
            "LOCKSTEP_MIGRATIONS": str(migrations),
            "LOCKSTEP_PG_BIN": str(servers.pg_bin),
            SWITCH: "1",
            **servers.airflow_connections(),
        },
        dags=dags,
        plugins=plugins,
    )
    spec = _spec(servers.root, home, env, migrate=_schema(servers) != _known_schema(home))
    with held_interrupts():
        end_leftovers(servers.root)
        started = datetime.now(timezone.utc)
        return Airflow(base_url=address(chosen), home=home, started=started, child=spawn(spec))


def stop_airflow(airflow: Airflow) -> None:
    """End the components and everything they forked; Ctrl-C waits until that is done."""
    with held_interrupts():
        airflow.api.close()
        end([airflow.child])


@contextmanager
def airflow_running(
    servers: Servers,
    *,
    dags: Path,
    plugins: Path,
    migrations: Path,
    needed: Collection[str] = (),
    port: int | None = None,
) -> Iterator[Airflow]:
    """Run Airflow for the length of a block, which begins when it is up and the needed DAGs are parsed."""
    airflow = start_airflow(servers, dags=dags, plugins=plugins, migrations=migrations, port=port)
    try:
        wait_until_up(airflow, servers, needed)
        yield airflow
    finally:
        stop_airflow(airflow)


def wait_until_up(airflow: Airflow, servers: Servers, needed: Collection[str] = ()) -> None:
    """Wait until every component is healthy and the needed DAGs are parsed.

    Raises ServerFailedError when a component ends, DagsMissingError when DAGs do not come.
    """
    _wait(airflow, lambda: _answers(airflow))
    airflow.api.warm(START_LIMIT)
    _wait(airflow, lambda: _healthy(airflow))
    _make_pools(airflow, servers)
    airflow.home.migrated.write_text(json.dumps(_schema(servers)))
    limit = time.monotonic() + START_LIMIT
    while missing := set(needed) - set(airflow.api.dags()):
        airflow.check()
        problems = [f"{one.file}: {one.text}" for one in airflow.api.import_errors()]
        if problems or time.monotonic() > limit:
            raise DagsMissingError(sorted(missing), problems)
        time.sleep(POLL)


def _make_pools(airflow: Airflow, servers: Servers) -> None:
    """Make the pool of each database that has a connection: without it tasks would wait for ever."""
    named = (variable.removeprefix(CONNECTION).lower() for variable in servers.airflow_connections())
    with contextlib.closing(airflow.client("admin")) as api:
        for name, pool in pools(conn_id for conn_id in named if not conn_id.startswith(OWN)).items():
            api.add_pool(name, pool)


def _spec(root: Path, home: Home, env: Mapping[str, str], *, migrate: bool) -> Spec:
    """Say how to run Airflow, behind its guard."""
    logs = root / "logs"
    wanted = (*(("--migrate",) if migrate else ()), *COMPONENTS)
    return Spec(
        name="airflow",
        command=(
            *(sys.executable, "-I", str(GUARD), str(GRACE), str(home.path)),
            *(sys.executable, "-I", "-m", NURSERY, str(logs), *wanted),
        ),
        data=home.path,
        log=logs / "airflow.log",
        record=_record(root),
        env=env,
    )


def _schema(servers: Servers) -> dict[str, str | None]:
    """Return the installed Airflow's version and the version of the metadata's schema that is there."""
    with psycopg.connect(servers.postgres_uri("airflow")) as connection:
        row = connection.execute("SELECT to_regclass('public.alembic_version') IS NOT NULL").fetchone()
        if row == (True,):
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            return {"airflow": version("apache-airflow-core"), "schema": None if row is None else row[0]}
    return {"airflow": version("apache-airflow-core"), "schema": None}


def _known_schema(home: Home) -> dict[str, str | None] | None:
    """Return what Airflow was last seen healthy with: to bring the schema up to date takes seconds."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        known: dict[str, str | None] = json.loads(home.migrated.read_text())
        return known
    return None


def _wait(airflow: Airflow, ready: Callable[[], bool]) -> None:
    limit = time.monotonic() + START_LIMIT
    while not ready():
        airflow.check()
        if time.monotonic() > limit:
            raise failure(airflow.child.spec, f"it did not become healthy within {START_LIMIT:.0f} s")
        time.sleep(POLL)


def _answers(airflow: Airflow) -> bool:
    try:
        airflow.api.health()
    except httpx.TransportError:
        return False
    return True


def _healthy(airflow: Airflow) -> bool:
    """Tell whether every component said so since it was started: an earlier session's word does not count."""
    try:
        said = airflow.api.health()
    except httpx.TransportError:
        return False
    return all(_fresh(said[name], f"latest_{name}_heartbeat", airflow.started) for name in BEATING)


def _fresh(said: Mapping[str, str | None], heartbeat: str, started: datetime) -> bool:
    beat = said[heartbeat]
    return said["status"] == "healthy" and beat is not None and datetime.fromisoformat(beat) >= started


def end_leftovers(root: Path) -> None:
    """End what a killed session left: the guard, and what came from it if the guard was killed too."""
    home, record = root / "airflow", _record(root)
    if not record.exists():
        return
    with contextlib.suppress(ValueError, KeyError, TypeError):
        guard = int(json.loads(record.read_text())["pid"])
        end_stranger(guard, home, signal.SIGTERM)
        for process in _session(guard, home):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    record.unlink(missing_ok=True)


def _record(root: Path) -> Path:
    return root / "run" / "airflow.json"


def _session(leader: int, home: Path) -> Iterator[psutil.Process]:
    """Yield the processes of a session that work in Airflow's home: a number alone may be someone else's."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader and Path(process.cwd()) == home:
                yield process
