"""Who does the shards of a step: one after the other here, or side by side in processes, as the wiring says."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from lockstep.domain.errors import Held, LockstepError
from lockstep.domain.progress import Phase
from lockstep.domain.revision import Revision
from lockstep.engine.rehearsing.distribution import Distribution
from lockstep.engine.services import Services
from lockstep.engine.steps import run_step_shard

#: what shards say when a batch is done, in either direction
BATCH_DONE = frozenset({"batch committed", "batch taken back"})
#: seconds for which a shard that is held by a signal is tried again, and between two tries at most
LONGEST_HOLD = 600.0
LOOK_AGAIN = 5.0
#: tries of a shard that meets an error which may pass
TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Job:
    """One shard of one step."""

    #: the revision's file without its ending
    stem: str
    run_id: str
    phase: Phase
    step: int
    shard: int


@dataclass(frozen=True, kw_only=True)
class Worked:
    """What came of a job."""

    #: by a clock that all processes of the machine share
    began: float
    ended: float
    #: seconds of its batches, or of a sample of them; how many there were, and the longest
    batches: tuple[float, ...] = ()
    batch_count: int = 0
    longest_batch: float = 0.0
    #: seconds that it waited because a signal said so
    waited: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)
    problem: LockstepError | None = None


class Crew(Protocol):
    """Does jobs side by side."""

    def together(self, jobs: Sequence[Job]) -> list[Worked]:
        """Do all of them and return what came of each, in order; nothing is raised for a job that fails."""


@dataclass(frozen=True, kw_only=True)
class InTurn:
    """A crew of one, in this process."""

    services: Services
    revision_of: Callable[[str], Revision]

    def together(self, jobs: Sequence[Job]) -> list[Worked]:
        return [work(self.services, self.revision_of(job.stem), job) for job in jobs]


def work(services: Services, revision: Revision, job: Job) -> Worked:
    """Do one job, as the task of a shard does it: again where the error may pass, later where it is held."""
    times = Distribution()
    last = began = time.time()
    waited = 0.0
    before = services.reached

    def reached(place: str) -> None:
        nonlocal last
        if place in BATCH_DONE:
            now = time.time()
            times.add(now - last)
            last = now
        before(place)

    timed = replace(services, reached=reached)
    facts: dict[str, Any] = {}
    problem: LockstepError | None = None
    tries = 0
    while True:
        problem = None
        try:
            run = timed.ledger.run(job.run_id)
            facts = run_step_shard(timed, revision, run, job.phase, job.step, job.shard, holder="a rehearsal")
        except Held as held:
            waited += _wait(held, waited)
            last = time.time()
            if waited < LONGEST_HOLD:
                continue
            problem = held
        except LockstepError as error:
            tries += 1
            problem = error
            if error.transient and tries < TRIES:
                time.sleep(tries)
                continue
        break
    return Worked(
        began=began,
        ended=time.time(),
        batches=tuple(times.kept),
        batch_count=times.count,
        longest_batch=times.longest,
        waited=waited,
        facts=facts,
        problem=problem,
    )


def _wait(held: Held, so_far: float) -> float:
    seconds = max(0.1, min(held.seconds, LOOK_AGAIN, LONGEST_HOLD - so_far))
    time.sleep(seconds)
    return seconds


def wall(worked: Sequence[Worked]) -> float:
    """Return seconds from the first one's begin to the last one's end, without what they all waited."""
    if not worked:
        return 0.0
    whole = max(one.ended for one in worked) - min(one.began for one in worked)
    return max(0.0, whole - max(one.waited for one in worked))
