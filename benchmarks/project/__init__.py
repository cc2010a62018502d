"""A project of the benchmark's own: resources, and revisions from which chains are made."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.children import ROOT

HERE = Path(__file__).parent
INCLUDE = HERE / "include"


def chain(folder: Path, revisions: Sequence[str]) -> Path:
    """Write revisions as a chain into a new folder: 0001, 0002 and so on; return the folder."""
    folder.mkdir(parents=True)
    before: str | None = None
    for number, name in enumerate(revisions, 1):
        own = f"{number:04}"
        text = (HERE / "revisions" / f"{name}.py").read_text()
        text = re.sub(r"^revision = .*$", f'revision = "{own}"', text, count=1, flags=re.MULTILINE)
        text = re.sub(
            r"^down_revision = .*$", f"down_revision = {before!r}", text, count=1, flags=re.MULTILINE
        )
        (folder / f"{own}_{name}.py").write_text(text)
        before = own
    return folder


def for_airflow(folder: Path, revisions: Sequence[str]) -> Path:
    """Write a whole project, with the checkout's own DAG files, into a new folder; return the folder."""
    folder.mkdir(parents=True)
    shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(INCLUDE, folder / "include", ignore=shutil.ignore_patterns("__pycache__"))
    chain(folder / "migrations", revisions)
    return folder
