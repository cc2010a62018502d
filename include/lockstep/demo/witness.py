"""Ask a program that has none of Lockstep's code what the stores hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

from lockstep.demo.errors import WitnessError
from lockstep.embedded import Servers

APPLICATION = ("campus_auth", "campus_api")


def hashes(program: Path, servers: Servers) -> dict[str, str]:
    """Return the hash of each of the application's stores; passwords go by environment, never as arguments."""
    address = f"postgresql://{servers.user}@{servers.host}:{servers.port}"
    command = [
        *(sys.executable, str(program)),
        *("--postgres", *(f"{address}/{name}" for name in APPLICATION)),
        *("--mongo", servers.mongo_uri, "--db", "campus"),
        *("--s3-endpoint", servers.s3_endpoint, "--bucket", "campus"),
    ]
    env = {
        **os.environ,
        "PGPASSWORD": servers.password,
        "AWS_ACCESS_KEY_ID": servers.s3_access_key,
        "AWS_SECRET_ACCESS_KEY": servers.s3_secret_key,
    }
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise WitnessError(program, done.stderr.strip())
    found: dict[str, str] = json.loads(done.stdout)
    return found
