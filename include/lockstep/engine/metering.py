"""What runs count and time, each number in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lockstep.domain.progress import Manifest, Progress
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.services import Services

if TYPE_CHECKING:
    from lockstep.engine.context import StepContext

#: every metric and its tags, as docs/metrics.md describes them
METRICS: Mapping[str, tuple[str, ...]] = {
    "run.started": ("revision", "direction", "environment"),
    **{
        f"run.{status.value}": ("revision", "direction", "environment")
        for status in (
            RunStatus.APPLIED,
            RunStatus.APPLIED_WITH_QUARANTINE,
            RunStatus.ROLLED_BACK,
            RunStatus.DOWNGRADED,
            RunStatus.RESTORED,
            RunStatus.STOPPED,
            RunStatus.FAILED,
        )
    },
    "run.duration": ("revision", "direction", "environment"),
    "batch.seconds": ("revision", "direction", "environment", "database"),
    "records.written": ("revision", "direction", "environment", "database"),
    "records.quarantined": ("revision", "direction", "environment", "database"),
    "backup.seconds": ("revision", "direction", "environment", "database"),
    "backup.bytes": ("revision", "direction", "environment", "database"),
    "hold.seconds": ("dag", "environment"),
    "outbox.delivered": ("sink", "environment"),
    "outbox.failed": ("sink", "environment"),
    "outbox.pending": ("sink", "environment"),
}


def started(services: Services, run: Run) -> None:
    services.meter.count("run.started", 1, **_tags(services, run))


def ended(services: Services, run: Run) -> None:
    """Count the end of a run that has just ended, and how long it took."""
    tags = _tags(services, run)
    services.meter.count(f"run.{run.status.value}", 1, **tags)
    if run.ended_at is not None:
        services.meter.time("run.duration", (run.ended_at - run.started_at).total_seconds(), **tags)


def backed_up(services: Services, run: Run, manifest: Manifest, seconds: float) -> None:
    """Count what a backup wrote; files that are used again are not."""
    tags = {**_tags(services, run), "database": manifest.conn_id}
    services.meter.time("backup.seconds", seconds, **tags)
    services.meter.count("backup.bytes", 0 if manifest.reuses else manifest.size, **tags)


def batch_done(context: StepContext, before: Progress, after: Progress, seconds: float) -> None:
    """Time a batch, and count its records."""
    meter = context.services.meter
    tags = {**_tags(context.services, context.run), "database": context.operation.database.conn_id}
    meter.time("batch.seconds", seconds, **tags)
    meter.count("records.written", max(after.written - before.written, 0), **tags)
    if after.quarantined > before.quarantined:
        meter.count("records.quarantined", after.quarantined - before.quarantined, **tags)


def held(services: Services, run: Run, seconds: float) -> None:
    """Time a wait in the worker; those without one are timed where the task comes back."""
    services.meter.time("hold.seconds", seconds, dag=run.caller.dag_id, environment=services.environment.name)


def _tags(services: Services, run: Run) -> dict[str, str]:
    return {
        "revision": run.revision,
        "direction": run.direction,
        "environment": services.environment.name,
    }
