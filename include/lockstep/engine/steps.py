"""Plan the steps of a direction into shards, and do one shard of one step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from lockstep.domain.errors import StepsUnfinished
from lockstep.domain.operations.base import Operation
from lockstep.domain.progress import KeyRange, Phase, Progress
from lockstep.domain.resources import Postgres
from lockstep.domain.revision import Direction, Revision
from lockstep.domain.run import Run, ShardState
from lockstep.engine.context import StepContext
from lockstep.engine.done import done_steps
from lockstep.engine.guard import guarded
from lockstep.engine.lease import kept
from lockstep.engine.operations.handler import WHOLE
from lockstep.engine.operations.registry import handler_of
from lockstep.engine.quarantine import left_by, passed_by, ranges_again, tries_again
from lockstep.engine.services import Services

#: the step number that a whole direction in one transaction is filed under
WHOLE_DIRECTION = 0


def direction_of(phase: Phase) -> Direction:
    """Return whose operations a phase is about: an undo's are the upgrade's."""
    return "downgrade" if phase == "downgrade" else "upgrade"


def operation_of(revision: Revision, phase: Phase, step: int) -> Operation:
    """Return the operation that a step is about; an undo's step is the upgrade's."""
    return revision.operations(direction_of(phase))[step - 1]


def plan_step(
    services: Services, revision: Revision, run: Run, phase: Phase, step: int, *, shards: int
) -> list[str]:
    """Cut a step into shards and return their labels, at least one; planned before, the plan stays."""
    run = guarded(services, revision, run)
    return [shard.label for shard in _planned(services, revision, run, phase, step, shards)]


def _planned(
    services: Services, revision: Revision, run: Run, phase: Phase, step: int, shards: int
) -> list[ShardState]:
    known = [shard for shard in services.ledger.shards(run.id, phase) if shard.step == step]
    if known:
        return known
    operation = operation_of(revision, phase, step)
    ranges = WHOLE
    if phase == "upgrade" and tries_again(run):
        ranges = ranges_again(services, run, step)
    elif phase != "undo" and not _abandoned(run, phase):
        ranges = handler_of(operation).plan(services, operation, max(1, shards))
    planned = services.ledger.plan_shards(run.id, phase, step, ranges)
    services.log.info(
        f"{phase} step {step}, {operation.title}: {len(planned)} shard(s)",
        ranges=[shard.label for shard in planned],
    )
    return planned


def _abandoned(run: Run, phase: Phase) -> bool:
    return phase == "upgrade" and bool(run.facts.get("undoing"))


def run_step_shard(
    services: Services,
    revision: Revision,
    run: Run,
    phase: Phase,
    step: int,
    shard: int,
    *,
    holder: str,
) -> dict[str, Any]:
    """Do what is left of one shard of one step, batch by batch; return what it came to.

    `holder`: who works on it, for the ledger. Done before: says so and does nothing.
    """
    run = guarded(services, revision, run)
    operation = operation_of(revision, phase, step)
    if _abandoned(run, phase):
        services.log.info(f"run {run.id} is being undone: {operation.title} does not go on")
        return {"skipped": "the run is being undone"}
    states = {s.shard: s for s in _planned(services, revision, run, phase, step, 1)}
    if states[shard].state == "done":
        services.log.info(f"{operation.title}, shard {states[shard].label}: done by an earlier attempt")
        return _facts(states[shard].progress)
    if phase == "undo":
        _fence_off(services, revision, run, step)
    fence, state = services.ledger.claim(run.id, phase, step, shard, holder)
    if state.keys == ():
        services.ledger.save(fence, Progress(done=True))
        services.log.info(f"{operation.title}: it left no record behind, there is nothing to try again")
        return _facts(Progress())
    context = StepContext(
        services=services,
        revision=revision,
        run=run,
        phase=phase,
        step=step,
        fence=fence,
        within=KeyRange(
            lower=state.lower,
            upper=state.upper,
            label=state.label,
            keys=state.keys,
            estimate=state.estimate,
        ),
        excluding=passed_by(services, run, phase, step, operation),
        expected=_expected(states.values()),
        beside=sum(state.state != "done" for state in states.values()),
    )
    if phase == "upgrade":
        context.quarantined = sum(one.shard == shard for one in left_by(services, run.id, step))
    context.pace()
    with kept(services, run), services.log.group(f"{phase} step {step}: {operation.describe()}"):
        services.log.info(f"shard {state.label}, {state.progress.read} record(s) read before this attempt")
        progress = _forward_or_back(context, operation)
    services.log.info(f"{operation.title}, shard {state.label}: done", **_facts(progress))
    return _facts(progress)


def _expected(states: Iterable[ShardState]) -> int | None:
    """Return about how many records a step has; None where a shard of it was not estimated."""
    estimates = [state.estimate for state in states]
    return None if None in estimates else sum(estimate or 0 for estimate in estimates)


def _forward_or_back(context: StepContext, operation: Operation) -> Progress:
    handler = handler_of(operation)
    if context.phase != "undo":
        return handler.forward(context, operation)
    begun = done_steps(context.services, context.revision, context.run.id, strict=True)
    done = next((done for done in begun if done.step == context.step), None)
    if done is None:
        context.log.info(f"{operation.title} had not begun: nothing to take back")
        progress = Progress(done=True)
        context.services.ledger.save(context.fence, progress)
        return progress
    return handler.back(context, done)


def _fence_off(services: Services, revision: Revision, run: Run, step: int) -> None:
    """Take the upgrade's shards of a step over, so that a worker thought dead cannot write behind the undo."""
    operation = revision.upgrade[step - 1]
    for shard in services.ledger.shards(run.id, "upgrade"):
        if shard.step == step:
            fence, state = services.ledger.claim(run.id, "upgrade", step, shard.shard, "undo")
            services.ledger.save(fence, state.progress)
    if isinstance(operation.database, Postgres):
        services.tables(operation.database).fence_off(run.id, services.ledger.next_epoch())


def _facts(progress: Progress) -> dict[str, Any]:
    facts = {"read": progress.read, "written": progress.written, "batches": progress.batches}
    return facts | ({"quarantined": progress.quarantined} if progress.quarantined else {})


def expected_steps(services: Services, revision: Revision, run: Run, phase: Phase) -> list[int]:
    """Return the steps that must be done for a phase to be complete."""
    if phase == "undo":
        return [done.step for done in done_steps(services, revision, run.id, strict=True)]
    direction = direction_of(phase)
    if revision.is_atomic(direction):
        return [WHOLE_DIRECTION]
    return list(range(1, len(revision.operations(direction)) + 1))


def settle(
    services: Services, revision: Revision, run: Run, phase: Phase, states: Mapping[str, str]
) -> dict[str, Any]:
    """Say what was begun, once every task of a phase has stopped; StepsUnfinished unless all of it is done.

    `states`: task label → its Airflow state, for the log. The ledger decides.
    """
    shards = services.ledger.shards(run.id, phase)
    expected = expected_steps(services, revision, run, phase)
    if phase == "undo" and any(shard.step == WHOLE_DIRECTION for shard in shards):
        expected = [WHOLE_DIRECTION]
    unfinished = [s for s in expected if not _is_done([shard for shard in shards if shard.step == s])]
    for shard in shards:
        services.log.info(
            f"{phase} step {shard.step}, shard {shard.label}: {shard.state}",
            read=shard.progress.read,
            written=shard.progress.written,
        )
    stopped = sorted(
        f"{label} {state}" for label, state in states.items() if state not in ("success", "skipped")
    )
    if unfinished:
        raise StepsUnfinished(
            f"{phase} is not complete: step(s) {', '.join(map(str, unfinished))} of {len(expected)} are not done"
            + (f" ({'; '.join(stopped)})" if stopped else "")
            + ". The log of the failed task says why.",
            unfinished=unfinished,
        )
    return {
        "steps": len(expected),
        "read": sum(shard.progress.read for shard in shards),
        "written": sum(shard.progress.written for shard in shards),
        "quarantined": sum(shard.progress.quarantined for shard in shards),
    }


def _is_done(shards: list[ShardState]) -> bool:
    return bool(shards) and all(shard.state == "done" for shard in shards)


def total(shards: list[ShardState]) -> Progress:
    """Return the sum of shards' progress."""
    sum_ = Progress(done=_is_done(shards))
    for shard in shards:
        sum_ = replace(
            sum_,
            batches=sum_.batches + shard.progress.batches,
            read=sum_.read + shard.progress.read,
            written=sum_.written + shard.progress.written,
            inserted=sum_.inserted + shard.progress.inserted,
            quarantined=sum_.quarantined + shard.progress.quarantined,
        )
    return sum_
