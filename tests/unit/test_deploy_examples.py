"""The examples of deploys are YAML and shell, ask for what the command knows, and hold no secret in an argument."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockstep.cli import _parser

EXAMPLES = Path(__file__).parents[2] / "examples"
WORKFLOW = EXAMPLES / "github" / "deploy.yml"
PIPELINE = EXAMPLES / "gitlab" / "deploy.gitlab-ci.yml"
SHELL = (EXAMPLES / "shell" / "deploy.sh", EXAMPLES / "container" / "entrypoint.sh")


def loaded(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def test_github_gives_secrets_to_the_environment_alone() -> None:
    job = loaded(WORKFLOW)["jobs"]["migrate"]

    assert set(job["env"]) == {f"LOCKSTEP_AIRFLOW_{name}" for name in ("URL", "USERNAME", "PASSWORD")}
    assert job["environment"] == "production"
    assert loaded(WORKFLOW)["jobs"]["release"]["needs"] == "migrate"
    assert all("secrets." not in step.get("run", "") for step in job["steps"])


def test_gitlab_stops_the_release_where_migrate_fails() -> None:
    pipeline = loaded(PIPELINE)

    assert pipeline["release"]["needs"] == ["migrate"]
    assert set(pipeline[".lockstep"]["variables"]) == {
        f"LOCKSTEP_AIRFLOW_{name}" for name in ("URL", "USERNAME", "PASSWORD_FILE")
    }
    assert pipeline["migrate"]["resource_group"] == "production"


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_the_shell_is_shell(path: Path) -> None:
    subprocess.run(["sh", "-n", str(path)], check=True)
    assert not re.search(r"(curl|--header)[^\n]*\$(TOKEN|DEPLOY_PASSWORD)\b", path.read_text())
    assert path.stat().st_mode & 0o111


def test_every_example_gives_options_that_there_are() -> None:
    text = "\n".join(path.read_text() for path in (WORKFLOW, PIPELINE, SHELL[1]))
    commands = re.findall(r"^\s*(?:- |run: |- run: )?lockstep (deploy\b[^\n|#]*)", text, re.MULTILINE)

    assert len(commands) == 5
    for command in commands:
        words = [re.sub(r"\$\{\w+:-(\w+)\}", r"\1", word) for word in shlex.split(command)]
        _parser().parse_args(words)
