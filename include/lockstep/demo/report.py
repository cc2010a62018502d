"""What a demo did, as JSON: for a test, and for whoever runs it in a pipeline. It holds no secret."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lockstep.demo.progress import Step
from lockstep.demo.route import seconds_of
from lockstep.demo.session import Session
from lockstep.embedded.airflow_api import DagRun


def report(session: Session, run: DagRun, steps: Sequence[Step], **more: Any) -> dict[str, Any]:
    """Return where everything is and what was done."""
    return {
        "root": str(session.servers.root),
        "base_url": session.airflow.base_url,
        "ports": dict(session.servers.ports),
        "size": vars(session.size),
        "seconds": {name: round(value, 1) for name, value in session.seconds.items()},
        "run": dag_run(run),
        "revisions": [dataclasses.asdict(step) for step in steps],
        **more,
    }


def dag_run(run: DagRun) -> dict[str, Any]:
    """Return a run as JSON."""
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": run.state,
        "seconds": round(seconds_of(run), 1),
    }


def write(path: Path | None, found: dict[str, Any]) -> None:
    """Write a report in one step, so that whoever waits for it never reads half of it."""
    if path is not None:
        fresh = path.with_name(f"{path.name}.new")
        fresh.write_text(json.dumps(found, indent=2) + "\n")
        fresh.replace(path)
