"""The project's own signals: every function of `include/signals.py` that takes no argument says go, slow or stop."""

from __future__ import annotations

import importlib
import inspect
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from lockstep.domain.pacing import Answer, Signal

FILE = "signals.py"


def project_signals() -> dict[str, Signal]:
    """Return the signals of the file beside the project's resources.py, by name; none where there is no file."""
    path = _beside_resources()
    return load_signals(path) if path is not None and path.is_file() else {}


def load_signals(path: Path) -> dict[str, Signal]:
    """Return the public functions that the file defines and that take no argument, in their order.

    A file that cannot be imported is one signal, which says stop: nobody knows what it would have said.
    """
    try:
        module = _imported(path)
    except (Exception, SystemExit) as problem:
        return {FILE: _stop(f"{path} cannot be imported ({type(problem).__name__}: {problem}). Mend it.")}
    return {
        name: function
        for name, function in vars(module).items()
        if not name.startswith("_")
        and inspect.isfunction(function)
        and function.__module__ == module.__name__
        and not inspect.signature(function).parameters
    }


def _beside_resources() -> Path | None:
    """Return where signals.py would be; by the module `resources`, so that no other package's file is meant."""
    try:
        found = importlib.import_module("resources").__file__
    except ImportError:
        return None
    return Path(found).with_name(FILE) if found else None


def _imported(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses look their module up while they are made
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(path.stem)
        if before is not None:
            sys.modules[path.stem] = before
        raise
    return module


def _stop(reason: str) -> Signal:
    def cannot_be_read() -> Answer:
        return ("stop", reason)

    return cannot_be_read
