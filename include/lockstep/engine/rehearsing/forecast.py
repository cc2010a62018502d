"""What the rehearsal's times say of the live run."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.domain.predicting import TASK, RunTime, StepTime, predict, tasks_in_a_row
from lockstep.domain.rehearsal import Prediction
from lockstep.domain.resources import Bucket, Everything, Mongo
from lockstep.engine.rehearsing.copies import Copied, scale
from lockstep.engine.rehearsing.driving import Operated, Trial
from lockstep.engine.rehearsing.stage import Backstage
from lockstep.engine.rehearsing.trying import Tried
from lockstep.engine.services import Settings
from lockstep.engine.steps import operation_of


def forecast(
    tried: Tried, copies: Sequence[Copied], settings: Settings, backstage: Backstage
) -> Prediction | None:
    """Return how long the revision's upgrade should take on the live data; None where it did not go up."""
    if tried.up is None or not tried.up.good:
        return None
    task_seconds = TASK if backstage.task_seconds is None else backstage.task_seconds
    return predict(run_time(tried, copies, settings), slots=backstage.slots, task_seconds=task_seconds)


def run_time(tried: Tried, copies: Sequence[Copied], settings: Settings) -> RunTime:
    """Return what the upgrade took on the copy, in the words of the rule."""
    up = tried.up
    assert up is not None
    steps = (
        (_whole(tried, copies, up),)
        if up.atomic
        else tuple(_step(tried, one, copies, settings) for one in up.operations)
    )
    drawn = [False] if up.atomic else [one.batched for one in up.operations]
    again = tried.again.seconds / up.seconds if tried.again and tried.again.good and up.seconds else None
    return RunTime(
        fixed=up.seconds_of("open_run", "settle", "record"),
        backups={
            name: up.seconds_of(name) for name in (t.name for t in up.tasks) if name.startswith("backup ")
        },
        prove=up.seconds_of("prove"),
        planning=sum(one.planning for one in up.operations),
        steps=steps,
        verify=up.seconds_of("verify"),
        scale=_scale(copies, {d.conn_id for d in tried.revision.databases}),
        tasks=tasks_in_a_row(drawn),
        again=again,
    )


def _whole(tried: Tried, copies: Sequence[Copied], up: Trial) -> StepTime:
    return StepTime(
        seconds=up.seconds_of("in one transaction"),
        scale=_scale(copies, {d.conn_id for d in tried.revision.databases}),
    )


def _step(tried: Tried, one: Operated, copies: Sequence[Copied], settings: Settings) -> StepTime:
    operation = operation_of(tried.revision, "upgrade", one.step)
    factor = max(
        (_factor(copies, resource) for resource in (*operation.writes, *operation.reads)), default=1.0
    )
    shards = len(one.shards)
    return StepTime(
        seconds=one.seconds,
        shards=shards,
        live_shards=_live_shards(operation.database, one.read * factor, shards, factor, settings),
        batched=one.batched,
        scale=factor,
    )


def _live_shards(database: object, records: float, shards: int, factor: float, settings: Settings) -> int:
    """Return how many shards the live data will have, as the stores cut them."""
    if factor == 1.0:
        return shards
    least = (
        settings.documents_per_shard
        if isinstance(database, Mongo)
        else settings.objects_per_shard
        if isinstance(database, Bucket)
        else settings.rows_per_shard
    )
    return max(shards, min(settings.shards, int(records // max(1, least)) or 1))


def _factor(copies: Sequence[Copied], resource: object) -> float:
    for copied in copies:
        if copied.wanted.database == getattr(resource, "database", None):
            if isinstance(resource, Everything):
                return copied.scale
            slug = str(getattr(resource, "slug", ""))
            return copied.scale_of(slug) if slug in copied.loaded else 1.0
    return 1.0


def _scale(copies: Sequence[Copied], conn_ids: set[str]) -> float:
    named = [copied for copied in copies if copied.wanted.database.conn_id in conn_ids]
    return scale(
        sum(sum(copied.loaded.values()) for copied in named),
        sum(sum(copied.kept.values()) for copied in named),
    )
