"""What an upgrade began, from the ledger and the checkpoints: all that an undo may touch."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

from lockstep.domain.operations.base import Operation
from lockstep.domain.resources import Postgres
from lockstep.domain.revision import Revision
from lockstep.domain.run import ShardState
from lockstep.engine.services import Services


@dataclass(frozen=True, kw_only=True)
class Done:
    """A step of an upgrade that is to be taken back."""

    run_id: str
    step: int
    operation: Operation
    shards: tuple[ShardState, ...]
    #: whether a record that is not as the step left it is an error, or is left alone and counted
    strict: bool


def done_steps(services: Services, revision: Revision, run_id: str, *, strict: bool) -> list[Done]:
    """Return the upgrade's steps that were begun, in order.

    The ledger may lag behind a PostgreSQL checkpoint by the one batch whose commit a crash cut off from the
    ledger's word; the checkpoint commits with the data, so it is the one to believe.
    """
    if revision.is_atomic("upgrade"):
        return _whole(services, revision, run_id, strict)
    by_step: dict[int, list[ShardState]] = defaultdict(list)
    for shard in services.ledger.shards(run_id, "upgrade"):
        by_step[shard.step].append(shard)
    found = []
    for step in sorted(by_step):
        operation = revision.upgrade[step - 1]
        shards = by_step[step]
        if isinstance(operation.database, Postgres):
            kept = services.tables(operation.database).progress(run_id, "upgrade")
            shards = [replace(s, progress=kept.get((step, s.shard), s.progress)) for s in shards]
        found.append(Done(run_id=run_id, step=step, operation=operation, shards=tuple(shards), strict=strict))
    return found


def _whole(services: Services, revision: Revision, run_id: str, strict: bool) -> list[Done]:
    """Return every step of an upgrade that was one transaction and committed, or none."""
    database = revision.upgrade[0].database
    assert isinstance(database, Postgres)
    kept = services.tables(database).progress(run_id, "upgrade").get((0, 0))
    if kept is None or not kept.done:
        return []
    return [
        Done(
            run_id=run_id,
            step=step,
            operation=operation,
            shards=(
                ShardState(
                    step=step,
                    shard=0,
                    label="all",
                    lower=None,
                    upper=None,
                    state="done",
                    epoch=0,
                    progress=kept,
                ),
            ),
            strict=strict,
        )
        for step, operation in enumerate(revision.upgrade, 1)
    ]
