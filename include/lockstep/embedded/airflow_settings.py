"""The environment that Airflow's components run in."""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import lockstep
from lockstep.embedded.airflow_home import USERS, Home

HOST = "127.0.0.1"
#: The tuned settings, which production shares.
TUNED = Path(lockstep.__file__).parent / "orchestration" / "airflow.env"
AUTH_MANAGER = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"


def environment(
    home: Home,
    *,
    port: int,
    database_uri: str,
    variables: Mapping[str, str],
    dags: Path,
    plugins: Path,
) -> dict[str, str]:
    """Return the whole environment of a component: `variables` are Lockstep's own and the connections.

    Nothing of another Airflow's environment leaks into it.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))
    }
    programs = Path(sys.executable).parent
    return {
        **inherited,
        "PATH": os.pathsep.join((str(programs), os.environ.get("PATH", os.defpath))),
        # macOS: let the executor fork, and keep the system's proxy look-up out of forked processes.
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",
        "NO_PROXY": "*",
        "AIRFLOW_HOME": str(home.path),
        "AIRFLOW_CONFIG": str(home.configuration),
        **dict(tuned()),
        **variables,
        **{f"AIRFLOW__{name}": value for name, value in _settings(home, port, database_uri).items()},
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
    }


def tuned(path: Path = TUNED) -> Iterator[tuple[str, str]]:
    """Yield the settings of airflow.env."""
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name, value


def address(port: int) -> str:
    """Return where the UI and the API are."""
    return f"http://{HOST}:{port}"


def _settings(home: Home, port: int, database_uri: str) -> dict[str, str]:
    """Return what holds for this session alone, as SECTION__KEY."""
    return {
        "API_AUTH__JWT_SECRET": home.jwt_secret,
        "API__BASE_URL": address(port),
        "API__HOST": HOST,
        "API__PORT": str(port),
        "API__SECRET_KEY": home.api_secret,
        "API__WORKERS": "1",
        "CORE__AUTH_MANAGER": AUTH_MANAGER,
        "CORE__EXECUTION_API_SERVER_URL": f"{address(port)}/execution/",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__FERNET_KEY": home.fernet_key,
        "CORE__HOSTNAME_CALLABLE": "socket.gethostname",  # the default asks DNS
        # More tasks at once than this only wait for each other's processor.
        "CORE__PARALLELISM": str(max(4, min(16, 2 * (os.cpu_count() or 2)))),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home.passwords_file),
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
        "DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
        "DATABASE__SQL_ALCHEMY_CONN": database_uri,
        "LOGGING__BASE_LOG_FOLDER": str(home.logs),
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home.logs / "dag_processor"),
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
