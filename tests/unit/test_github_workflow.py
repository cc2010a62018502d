"""The workflow in examples/github is one that GitHub and Airflow understand."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).parents[2] / "examples" / "github" / "rehearse.yml"
#: how the shell's words stand in Airflow's paths
NAMES = {"rehearse": "{dag_id}", "$dag": "{dag_id}", "$RUN_ID": "{dag_run_id}"}


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def scripts(workflow: dict[Any, Any]) -> list[str]:
    return [step["run"] for step in workflow["jobs"]["rehearse"]["steps"] if "run" in step]


def airflow_paths(name: str) -> dict[str, Any]:
    """Return what an OpenAPI document of the installed Airflow describes."""
    package = find_spec("airflow")
    assert package is not None
    assert package.submodule_search_locations
    [found] = Path(package.submodule_search_locations[0]).rglob(name)
    described: dict[str, Any] = yaml.load(
        found.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return described["paths"]


def test_it_starts_for_pull_requests_that_touch_migrations(workflow: dict[Any, Any]) -> None:
    # YAML 1.1 reads the key `on` as a truth.
    assert workflow[True] == {"pull_request": {"paths": ["migrations/**"]}}


def test_its_requests_are_of_airflows_api(workflow: dict[Any, Any]) -> None:
    known = airflow_paths("v2-rest-api-generated.yaml")
    asked = []
    for script in scripts(workflow):
        for command in re.findall(
            r"curl\b.*?\"\$AIRFLOW_URL(?:/[^\"]*)\"", script.replace("\\\n", " "), re.DOTALL
        ):
            path = command.rpartition('"$AIRFLOW_URL')[2].rstrip('"')
            method = "post" if "-X POST" in command else "get"
            asked.append((method, "/".join(NAMES.get(part, part) for part in path.split("/"))))
    assert asked == [
        ("post", "/auth/token"),
        ("get", "/api/v2/dags/{dag_id}"),
        ("post", "/api/v2/dags/{dag_id}/dagRuns"),
        ("get", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}"),
    ]
    known |= airflow_paths("v2-simple-auth-manager-generated.yaml")
    for method, path in asked:
        assert method in known[path]


def test_its_shell_is_shell_and_holds_no_secret_in_an_argument(workflow: dict[Any, Any]) -> None:
    for script in scripts(workflow):
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
        assert "secrets." not in script
        assert "github.event" not in script  # what a pull request names must not become shell
        assert not re.search(r"curl[^\n]*\$(token|AIRFLOW_PASSWORD)", script)
