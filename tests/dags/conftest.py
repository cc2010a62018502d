"""An Airflow of its own for these tests: a home in a temporary folder, SQLite, no server."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_project import write_project
from scripted_engine import ScriptedEngine

HERE = Path(__file__).parent

# Airflow reads its settings when it is first imported, so they are set before any test is.
HOME = Path(tempfile.mkdtemp(prefix="lockstep-airflow-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__DAGS_FOLDER=str(HOME / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(HOME / "plugins"),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME}/airflow.db",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Airflow's own deprecations pass, and nobody else's."""
    for item in items:
        if HERE in item.path.parents:
            for module in ("airflow", "sqlalchemy", "starlette", "fastapi", "cadwyn", "pydantic"):
                item.add_marker(pytest.mark.filterwarnings(rf"ignore::DeprecationWarning:{module}"))
            item.add_marker(pytest.mark.filterwarnings("ignore::airflow.exceptions.RemovedInAirflow4Warning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """Create the metadata database once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from airflow.utils.db import initdb

        initdb()


@pytest.fixture
def own_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the import path and `resources` back as they were."""
    monkeypatch.delenv("LOCKSTEP_MIGRATIONS", raising=False)
    before, kept = list(sys.path), sys.modules.pop("resources", None)
    yield
    sys.path[:] = before
    sys.modules.pop("resources", None)
    if kept is not None:
        sys.modules["resources"] = kept


@pytest.fixture
def project(tmp_path: Path, own_imports: None) -> Path:
    """Return a project that a test may change."""
    return write_project(tmp_path)


@pytest.fixture(scope="session")
def home_files(airflow_db: None) -> Path:
    """Write the project whose DAG files Airflow itself reads."""
    return write_project(HOME)


@pytest.fixture
def home_project(home_files: Path, own_imports: None) -> Path:
    """Return the project whose DAG files Airflow itself reads; nobody changes it."""
    return home_files


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    import lockstep.orchestration as package
    import lockstep.orchestration.calls  # noqa: F401

    scripted = ScriptedEngine()
    # dag.test() waits a second wherever it finds nothing that could start yet.
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(package, "calls", scripted)
    monkeypatch.setitem(sys.modules, "lockstep.orchestration.calls", scripted)
    return scripted
