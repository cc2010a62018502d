"""What the numbers depend on: the machine, the versions, the settings."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.bench import Bench
from benchmarks.children import ROOT
from lockstep.engine.services import Settings

PACKAGES = ("lockstep", "psycopg", "pymongo", "boto3", "apache-airflow", "nx-27017", "moto", "zstandard")


def context(bench: Bench) -> dict[str, Any]:
    """Return it as plain values, for each part that is measured."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "size": bench.sizes.name,
        "seed": bench.seed,
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "postgres": bench.places.postgres_settings(),
        "lockstep": {**asdict(Settings()), **bench.settings},
    }


def machine() -> Mapping[str, Any]:
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1024**3),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(psutil.getloadavg()[0], 1),
    }


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor()


def _commit() -> str | None:
    """Return which commit is checked out, if this is a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
