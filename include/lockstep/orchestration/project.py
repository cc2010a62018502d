"""Where the project's revisions lie, and how its resources are imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

MIGRATIONS = "LOCKSTEP_MIGRATIONS"


def project_root(dag_file: str) -> Path:
    """Return the folder that holds dags/, from the path of a file in it."""
    return Path(dag_file).resolve().parent.parent


def migrations_folder(dag_file: str) -> Path:
    """Return the folder of revisions: LOCKSTEP_MIGRATIONS, else migrations/ beside dags/."""
    given = os.environ.get(MIGRATIONS, "").strip()
    return Path(given).expanduser().resolve() if given else project_root(dag_file) / "migrations"


def prefer_include(dag_file: str) -> None:
    """Let the project's own include/ win the import of `resources` over any other that is installed."""
    include = str(project_root(dag_file) / "include")
    if not Path(include).is_dir() or sys.path[:1] == [include]:
        return
    sys.path[:] = [include, *(entry for entry in sys.path if entry != include)]
    loaded = sys.modules.get("resources")
    origin = getattr(loaded, "__file__", None)
    own = Path(include, "resources.py")
    if loaded is not None and own.is_file() and (origin is None or Path(origin).resolve() != own):
        del sys.modules["resources"]
