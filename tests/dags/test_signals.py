"""The project's own signals: which functions count, and what a file that cannot be read says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lockstep.orchestration.signals import load_signals, project_signals

SIGNALS = '''
"""When this project's migrations wait."""
from __future__ import annotations

from dataclasses import dataclass
from os import getcwd

LIMIT = 7


@dataclass
class Queue:
    length: int


def nightly_import_runs():
    return ("stop", "the nightly import runs") if queue(3).length else None


def calm():
    return "go"


def queue(length):
    return Queue(length)


def _private():
    return "stop"


unnamed = lambda: "stop" if LIMIT else "go"
'''


@pytest.fixture(autouse=True)
def own_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "signals", raising=False)


def beside_resources(project: Path, text: str | None) -> Path:
    from lockstep.orchestration.project import prefer_include

    if text is not None:
        (project / "include" / "signals.py").write_text(text)
    prefer_include(str(project / "dags" / "revisions.py"))
    return project / "include" / "signals.py"


def test_every_public_function_without_arguments_is_a_signal(project: Path) -> None:
    beside_resources(project, SIGNALS)

    found = project_signals()

    assert list(found) == ["nightly_import_runs", "calm", "unnamed"]
    assert found["nightly_import_runs"]() == ("stop", "the nightly import runs")
    assert found["calm"]() == "go"


def test_a_project_without_the_file_has_no_signals_of_its_own(project: Path) -> None:
    beside_resources(project, None)
    assert project_signals() == {}


@pytest.mark.parametrize("text", ["def broken(:\n", "import no_such_thing\n", "raise SystemExit(1)\n"])
def test_a_file_that_cannot_be_imported_says_stop_and_why(project: Path, text: str) -> None:
    path = beside_resources(project, text)

    ((name, signal),) = project_signals().items()

    answer = signal()
    assert name == "signals.py"
    assert isinstance(answer, tuple)
    assert answer[0] == "stop"
    assert f"{path} cannot be imported" in answer[1]
    assert "signals" not in sys.modules


def test_a_mended_file_is_read_anew(project: Path) -> None:
    path = beside_resources(project, "import no_such_thing\n")
    assert list(load_signals(path)) == ["signals.py"]

    path.write_text("def calm():\n    return None\n# mended, and longer than before\n")

    assert list(load_signals(path)) == ["calm"]


def test_a_signal_is_what_the_engine_understands(project: Path) -> None:
    from lockstep.engine.pacing import asked

    beside_resources(project, SIGNALS)

    readings = {name: asked(name, signal) for name, signal in project_signals().items()}

    assert readings["nightly_import_runs"].verdict == "stop"
    assert readings["nightly_import_runs"].detail == "the nightly import runs"
    assert readings["calm"].verdict == "go"
