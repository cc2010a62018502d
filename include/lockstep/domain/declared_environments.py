"""Find the environments that a project declares: the values of `include/environments.py`, beside its resources.py."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from lockstep.domain.environment import LEDGER, VAULT, Environment, Environments
from lockstep.domain.errors import DeclarationError

FILE = "environments.py"


def declared_environments(apart: Iterable[str] = (LEDGER, VAULT)) -> Environments:
    """Return the project's environments; one without a prefix, `default`, where it declares none.

    `apart`: see Environments. Raises DeclarationError, naming the file, for what is declared wrongly there.
    """
    path = _beside_resources()
    if path is None or not path.is_file():
        return Environments()
    known = path.stat()
    # A process that serves pages lives long: a file that was changed is read again.
    return _read(str(path), known.st_mtime_ns, known.st_size, tuple(apart))


@lru_cache(maxsize=8)
def _read(path: str, _changed: int, _size: int, apart: tuple[str, ...]) -> Environments:
    try:
        named = runpy.run_path(path)
        found = [value for value in named.values() if isinstance(value, Environment)]
        return Environments(dict.fromkeys(found), apart=apart)
    except DeclarationError as problem:
        raise DeclarationError(f"{path}: {problem}", file=path) from problem
    except (Exception, SystemExit) as problem:
        raise DeclarationError(
            f"{path} cannot be imported ({type(problem).__name__}: {problem}). Mend it.", file=path
        ) from problem


def _beside_resources() -> Path | None:
    """Return where the file would be; by the module `resources`, so that no other package's file is meant."""
    origin = getattr(sys.modules.get("resources"), "__file__", None)
    if origin is None:
        try:
            spec = find_spec("resources")
        except (ImportError, ValueError):
            return None
        origin = spec.origin if spec else None
    return Path(origin).resolve().with_name(FILE) if origin else None
