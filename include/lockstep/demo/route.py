"""Trigger `migrate` or `rollback` the way a deploy pipeline does, and follow it to its end."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockstep.demo.progress import Observer, Step
from lockstep.demo.session import Session
from lockstep.domain.chain import revision_files
from lockstep.embedded.airflow_api import AirflowApi, DagRun

EVERY = 1.0


def trigger(api: AirflowApi, dag_id: str, name: str, conf: Mapping[str, Any]) -> DagRun:
    """Join the run of this name that is going on, or start the next one.

    The id says what is deployed, so that a pipeline that is started twice has one run; one that is over
    does not keep from another, because a person may have rolled back in the meantime.
    """
    mine = [run for run in api.runs(dag_id) if run.run_id.startswith(f"{name}-")]
    for run in mine:
        if not run.over:
            return run
    return api.trigger(dag_id, f"{name}-{len(mine) + 1}", conf)


def run_name(migrations: Path, prefix: str = "demo") -> str:
    """Return a name that is the same for the same revisions."""
    digest = hashlib.sha256()
    for path in revision_files(migrations):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return f"{prefix}-{digest.hexdigest()[:10]}"


def follow(session: Session, run: DagRun) -> tuple[DagRun, tuple[Step, ...]]:
    """Show a run of `migrate` until it is over; return it, and where each revision came to."""
    api = session.airflow.api
    observer = Observer(api=api, ledger=session.ledger, chain=session.chain, run_id=run.run_id)
    with session.screen.following() as view:
        while not run.over:
            view.update(observer.look())
            time.sleep(EVERY)
            session.airflow.check()
            run = api.run(run.dag_id, run.run_id)
        steps = observer.look()
        view.update(steps)
    return run, steps


def seconds_of(run: DagRun) -> float:
    """Return how long a run took that is over."""
    if run.started is None or run.ended is None:
        return 0.0
    return (run.ended - run.started).total_seconds()
