"""How long a revision's upgrade will take on the live data, from what it took on a copy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lockstep.domain.rehearsal import Prediction

#: Seconds that Airflow needs from the end of one task to the work of the next, tuned as the demo is.
TASK = 0.35
#: Twice as many shards side by side take this share of the time: two disjoint ranges of a table on two cores.
HALVED = 0.67
#: A step that takes less than this is held to take as long on any data: a change of the catalog.
INSTANT = 0.25
#: How far from what was measured the truth may lie on data of the same size, below and above; and how much
#: further for each time that the data is twice the copy's.
BELOW, ABOVE, FURTHER = 0.20, 0.25, 0.05


@dataclass(frozen=True, kw_only=True)
class StepTime:
    """One operation on the copy."""

    #: from the first shard's begin to the last one's end
    seconds: float
    #: how it was cut, and how many were under way at once
    shards: int = 1
    #: how it will be cut live
    live_shards: int = 1
    batched: bool = False
    #: records of the live data for one of the copy
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class RunTime:
    """A revision's upgrade on the copy, task by task. Seconds."""

    #: open_run, settle, record and what else does not grow with the data
    fixed: float = 0.0
    #: by database; they are taken side by side
    backups: Mapping[str, float]
    prove: float = 0.0
    planning: float = 0.0
    steps: tuple[StepTime, ...] = ()
    verify: float = 0.0
    #: records of the live data for one of the copy, over all that is backed up
    scale: float = 1.0
    #: tasks of the run that come one after another, from open_run to record
    tasks: int = 0
    #: the same upgrade done once more on the copy, over this one; None where it was not
    again: float | None = None


def predict(run: RunTime, *, slots: int, task_seconds: float = TASK) -> Prediction:
    """Return the seconds from open_run to record on the live data.

    `slots`: tasks that Airflow has room for at once. `task_seconds`: what each task costs besides its work; 0 for
    a run without Airflow. Backups count as the longest of them, and at most as if each waited for the others;
    a batched operation grows with its records and shrinks with shards that have slots, by what was measured of
    two; anything else grows with the records too, unless it was done in no time. The range holds what a second
    upgrade of the copy took, and widens with each doubling of the data.
    """
    backups = list(run.backups.values()) or [0.0]
    beside = max(max(backups), sum(backups) / max(1, slots))
    still = run.fixed + run.planning + run.tasks * task_seconds
    low = still + run.scale * (max(backups) + run.prove + run.verify)
    likely = still + run.scale * (beside + run.prove + run.verify)
    high = still + run.scale * (sum(backups) + run.prove + run.verify)
    for step in run.steps:
        least, most_likely, most = _step(step, slots)
        low, likely, high = low + least, likely + most_likely, high + most
    doublings = (
        abs(math.log2(max(run.scale, *(step.scale for step in run.steps), 1e-9))) if run.steps else 0.0
    )
    low *= 1 - min(0.8, BELOW + FURTHER * doublings)
    high *= 1 + ABOVE + FURTHER * doublings
    if run.again is not None:
        other = likely * min(2.0, max(0.5, run.again))
        low, high = min(low, other), max(high, other)
    return Prediction(
        seconds=round(likely, 3), low=round(min(low, likely), 3), high=round(max(high, likely), 3)
    )


def _step(step: StepTime, slots: int) -> tuple[float, float, float]:
    """Return the least, the likely and the most seconds of one operation."""
    if not step.batched:
        grown = step.seconds * step.scale
        likely = step.seconds if step.seconds < INSTANT else grown
        return min(step.seconds, grown), likely, max(step.seconds, grown)
    now, live = _together(step.shards, slots), _together(step.live_shards, slots)
    grown = step.seconds * step.scale
    likely = grown * _share(live) / _share(now)
    perfectly = grown * now / live
    return min(likely, perfectly), likely, max(likely, grown)


def _together(shards: int, slots: int) -> int:
    return max(1, min(shards, slots))


def _share(together: int) -> float:
    """Return which share of one worker's time so many of them take."""
    return float(HALVED ** math.log2(together))


def tasks_in_a_row(steps: list[bool]) -> int:
    """Return how many tasks come one after another between open_run and record.

    `steps`: for each task of the upgrade that is drawn, whether it is planned and mapped, which makes it two.
    A backup, its proof, settle, verify and record are the others.
    """
    return 5 + sum(2 if batched else 1 for batched in steps)
