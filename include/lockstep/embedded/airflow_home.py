"""What Airflow keeps below the data folder: its home, its secrets and its users' passwords."""

import base64
import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lockstep.embedded.postgres import write_private

#: User → role: who looks after it, who deploys and operates, who only looks.
USERS: Mapping[str, str] = {"admin": "ADMIN", "deploy": "USER", "viewer": "VIEWER"}
CONFIGURATION = "# Every setting comes from the environment: see lockstep.embedded.airflow_settings.\n"


@dataclass(frozen=True, kw_only=True)
class Home:
    """Say where Airflow's own files are, and what its secrets are."""

    path: Path
    logs: Path
    #: User → password.
    passwords: Mapping[str, str] = field(repr=False)
    fernet_key: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    api_secret: str = field(repr=False)

    @property
    def configuration(self) -> Path:
        """Return Airflow's configuration file, which holds nothing."""
        return self.path / "airflow.cfg"

    @property
    def passwords_file(self) -> Path:
        """Return the file that Airflow reads the passwords from."""
        return self.path / "passwords.json"

    @property
    def migrated(self) -> Path:
        """Return the file that says for which Airflow the metadata's schema was made."""
        return self.path / "migrated.json"


def prepare(root: Path) -> Home:
    """Make what is missing; secrets are made once and readable by their owner only."""
    path = root / "airflow"
    path.mkdir(parents=True, exist_ok=True)
    (root / "logs" / "airflow").mkdir(parents=True, exist_ok=True)
    kept = _kept(path / "secrets.json", _new_secrets)
    passwords = _kept(path / "passwords.json", lambda: {user: secrets.token_urlsafe(12) for user in USERS})
    home = Home(path=path, logs=root / "logs" / "airflow", passwords=passwords, **kept)
    home.configuration.write_text(CONFIGURATION)  # without one, each component would write its own
    return home


def _new_secrets() -> dict[str, str]:
    return {
        "fernet_key": base64.urlsafe_b64encode(os.urandom(32)).decode(),
        "jwt_secret": secrets.token_urlsafe(48),
        "api_secret": secrets.token_urlsafe(48),
    }


def _kept(path: Path, make: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Return what the file holds, making it the first time."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        write_private(fresh, json.dumps(make()))
        fresh.rename(path)
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
