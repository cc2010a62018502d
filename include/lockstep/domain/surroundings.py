"""Where an entry of the history is written: with which versions, on which host, and where its log is."""

from __future__ import annotations

import platform
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

#: what stands in the place of a secret
HIDDEN = "***"
# user:password@ inside an address.
_IN_ADDRESS = re.compile(r"(?<=://)([^\s/@:]*):[^\s/@]+@")
# password=… and the like, as in libpq's text, a header or a traceback's line.
_IN_TEXT = re.compile(
    r"(?i)\b([a-z_]*(?:password|passwd|secret|token|api_key|access_key)[a-z_]*)([\"']?\s*[=:]\s*)"
    r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^\s,;)}\]]+)"
)
_IN_HEADER = re.compile(r"(?i)\b(bearer|basic)\s+[a-z0-9+/=._~-]{8,}")
_NAME = re.compile(r"(?i)(password|passwd|secret|token|api_key|access_key|authorization)")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What every entry of one process says beside what happened."""

    #: program → version
    versions: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    #: the task that does it, such as "revision_0001 / manual__1 / verify, try 1"
    task: str | None = None
    #: the page of its log in Airflow's UI
    log_url: str | None = None

    def facts(self, **more_versions: str) -> dict[str, Any]:
        """Return it as JSON, what is not known left out. `more_versions`: those that a connection tells."""
        said = {
            "versions": {**self.versions, **more_versions},
            "host": self.host,
            "task": self.task,
            "log_url": self.log_url,
        }
        return {name: value for name, value in said.items() if value}


def here(*, task: str | None = None, log_url: str | None = None, **versions: str | None) -> Surroundings:
    """Return the surroundings of this process. `versions`: of what else takes part, such as airflow."""
    known = {"lockstep": _own_version(), "python": platform.python_version(), **versions}
    return Surroundings(
        versions={name: number for name, number in known.items() if number},
        host=socket.gethostname(),
        task=task,
        log_url=log_url,
    )


def without_secrets(value: Any, name: str = "") -> Any:
    """Return plain values with secrets hidden: those in addresses and texts, and those under a telling name."""
    if isinstance(value, Mapping):
        return {key: without_secrets(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(inner, name) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    if _NAME.search(name):
        return HIDDEN
    value = _IN_ADDRESS.sub(rf"\1:{HIDDEN}@", value)
    value = _IN_TEXT.sub(rf"\1\2{HIDDEN}", value)
    return _IN_HEADER.sub(rf"\1 {HIDDEN}", value)


@cache
def _own_version() -> str | None:
    try:
        return version("lockstep")
    except PackageNotFoundError:
        return None
