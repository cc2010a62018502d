"""What a service account logs in with, from the environment or a file, never from an argument.

Arguments of a process can be read by every user of the machine, and are kept in shell histories and CI logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lockstep.domain.errors import Refused
from lockstep.stores.airflow.errors import NoCredentials

TOKEN = "LOCKSTEP_AIRFLOW_TOKEN"  # noqa: S105 - the name of a variable
USERNAME = "LOCKSTEP_AIRFLOW_USERNAME"
PASSWORD = "LOCKSTEP_AIRFLOW_PASSWORD"  # noqa: S105 - the name of a variable
_FILE = "_FILE"


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """Either a token that somebody else renews, or a user's name and password to get one with.

    Each secret is asked for when it is needed: a file may have been renewed since.
    """

    token: Callable[[], str] | None = field(default=None, repr=False)
    username: str = ""
    password: Callable[[], str] | None = field(default=None, repr=False)


def credentials_from(environ: Mapping[str, str]) -> Credentials:
    """Return what the environment gives; a token goes before a name and password.

    Raises NoCredentials where it gives neither, Refused where it gives one secret twice.
    """
    token = _secret(environ, TOKEN)
    if token is not None:
        return Credentials(token=token)
    password = _secret(environ, PASSWORD)
    username = environ.get(USERNAME, "").strip()
    if username and password is not None:
        return Credentials(username=username, password=password)
    raise NoCredentials(
        f"there is nothing to log in to Airflow with. Set {TOKEN} or {TOKEN}{_FILE}; or {USERNAME} and {PASSWORD} or "
        f"{PASSWORD}{_FILE}."
    )


def _secret(environ: Mapping[str, str], name: str) -> Callable[[], str] | None:
    given, file = environ.get(name, "").strip(), environ.get(f"{name}{_FILE}", "").strip()
    if given and file:
        raise Refused(f"both {name} and {name}{_FILE} are set: leave one of them out.")
    if given:
        return lambda: given
    return (lambda: _read(file, f"{name}{_FILE}")) if file else None


def _read(file: str, name: str) -> str:
    try:
        found = Path(file).read_text(encoding="utf-8").strip()
    except OSError as problem:
        raise NoCredentials(
            f"the file {file!r}, which {name} names, cannot be read: {problem.strerror or problem}."
        ) from None
    if not found:
        raise NoCredentials(f"the file {file!r}, which {name} names, is empty.")
    return found
