"""How far the step of a revision is that goes on now, from its shards in the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass

from lockstep.domain.run import ShardState
from lockstep.web.read import seconds_left


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Say what was read of what; nothing is made up where nobody counted or measured."""

    read: int
    #: About how many records there are.
    estimate: int | None
    #: Records a second.
    rate: float | None
    #: Seconds.
    left: float | None
    #: What it waits for.
    held: str | None


def pace_of(shards: Sequence[ShardState]) -> Pace | None:
    """Return the pace of the step that was planned last; None where none is, or all of it is done."""
    step = max((shard.step for shard in shards), default=None)
    mine = [shard for shard in shards if shard.step == step]
    going = [shard for shard in mine if shard.state != "done"]
    if not going:
        return None
    estimates = [_estimate(shard) for shard in mine]
    rates = [shard.rate for shard in going if shard.state == "running" and shard.rate]
    # Shards run side by side: the step takes as long as the one that takes longest.
    lefts = [seconds_left(shard) for shard in going]
    return Pace(
        read=sum(shard.progress.read for shard in mine),
        estimate=None if None in estimates else sum(filter(None, estimates)),
        rate=sum(rates) if rates else None,
        left=None if None in lefts else max(filter(None, lefts), default=0.0),
        held=next((shard.held for shard in going if shard.state == "held"), None),
    )


def _estimate(shard: ShardState) -> int | None:
    """Return about how many records a shard has: one that is done has what it read."""
    return shard.progress.read if shard.state == "done" else shard.estimate
