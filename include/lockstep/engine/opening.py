"""Open a run: decide whether this revision may move now, and record that it begins."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from lockstep.domain.chain import Chain
from lockstep.domain.errors import Refused, Unavailable
from lockstep.domain.operations.restore import Restore
from lockstep.domain.revision import Direction, Revision
from lockstep.domain.run import Caller, Pause, RevisionState, Run
from lockstep.domain.status import UNSETTLED, RunStatus, Status
from lockstep.engine import metering
from lockstep.engine.auditing.noting import note_opened
from lockstep.engine.counting import BEFORE, note_before
from lockstep.engine.guard import reopen
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.quarantine import waiting
from lockstep.engine.services import Services
from lockstep.engine.unchanged import refuse_changed

#: run statuses after which the same Airflow run may try again
_MAY_TRY_AGAIN = frozenset({RunStatus.ROLLED_BACK, RunStatus.STOPPED})

#: run statuses that say that the revision is where it was asked to be
_ENDED_WELL = frozenset(
    {RunStatus.APPLIED, RunStatus.APPLIED_WITH_QUARANTINE, RunStatus.DOWNGRADED, RunStatus.NOTHING_TO_DO}
)


def open_run(
    services: Services,
    chain: Chain,
    revision: Revision,
    *,
    direction: Direction,
    caller: Caller,
    params: Mapping[str, Any],
    alive: Callable[[Caller], bool],
    may_begin: bool = True,
) -> Run:
    """Open the run that moves `revision` one step, or continue the one that was left half-way.

    `alive` answers whether another Airflow run is still queued or running. Raises Refused, with nothing
    changed, when another run holds the chain, the order or a checksum forbids it, or a failure is unsettled.
    Returns a run with status NOTHING_TO_DO where the revision is already where it was asked to be. `may_begin`: if
    not, only a run that is there is continued, and Unavailable is raised where a new one would be due.
    """
    services.ledger.check()
    run = _opened(services, chain, revision, direction, caller, params, alive, may_begin)
    if run.status is RunStatus.OPEN and BEFORE not in run.facts:
        metering.started(services, run)
        note_before(services, revision, run)
    return run


def _opened(
    services: Services,
    chain: Chain,
    revision: Revision,
    direction: Direction,
    caller: Caller,
    params: Mapping[str, Any],
    alive: Callable[[Caller], bool],
    may_begin: bool,
) -> Run:
    with services.ledger.unit() as unit:
        states = register_chain(unit, chain)
        ours = services.ledger.run_of(caller.dag_id, caller.dag_run_id)
        if ours is not None and ours.status not in _MAY_TRY_AGAIN:
            return _again(services, unit, ours, revision, direction, states[revision.id].status)
        held = unit.open_run()
        if held is not None:
            return _take_over(services, unit, held, revision, direction, caller, alive)
        failed = [state for state in states.values() if state.status in UNSETTLED]
        if failed:
            return _resume(services, unit, failed[0], revision, direction, caller, params)
        refuse_edited(chain, states)
        state = states[revision.id]
        if not may_begin and (params.get("redrive") or not is_there(state.status, direction)):
            # Whether a person has to be asked was looked up while another run held the chain, which has just ended.
            raise Unavailable("the chain was held a moment ago and is free now; this looks once more.")
        if params.get("redrive"):
            return _redrive(services, unit, revision, direction, caller, params, state)
        if is_there(states[revision.id].status, direction):
            return _nothing(services, unit, revision, direction, caller, params)
        refuse_out_of_order(chain, revision, direction, states)
        refuse_unjournaled(unit, revision, direction, state)
        return _begin(services, unit, revision, direction, caller, params, states[revision.id])


def current_run(services: Services, caller_dag_id: str, dag_run_id: str) -> Run:
    """Return the ledger's run that this Airflow run works for; Refused where there is none."""
    run = services.ledger.run_of(caller_dag_id, dag_run_id)
    if run is None:
        raise Refused(
            f"no run is open for {caller_dag_id} / {dag_run_id}: open_run did not end well, or another DAG run "
            "has taken it over. Nothing was done here; look at open_run's log.",
            dag_id=caller_dag_id,
            dag_run_id=dag_run_id,
        )
    if (run.caller.dag_id, run.caller.dag_run_id) != (caller_dag_id, dag_run_id):
        raise Refused(
            f"run {run.id} was taken over by {run.caller.dag_id} / {run.caller.dag_run_id}: look there. Nothing "
            "was done here.",
            run=run.id,
        )
    return run


def register_chain(unit: LedgerUnit, chain: Chain) -> dict[str, RevisionState]:
    """Make sure that each revision of the chain has its row, and return all rows."""
    known = unit.revisions()
    for revision in chain.revisions:
        state = known.get(revision.id)
        if state is None or state.status in (Status.PENDING, Status.ROLLED_BACK):
            unit.register(
                RevisionState(
                    id=revision.id,
                    description=revision.description,
                    storage_type=revision.storage_type,
                    status=Status.PENDING if state is None else state.status,
                    checksum=revision.checksum,
                    down_revision=revision.down_revision,
                )
            )
    return unit.revisions()


def refuse_edited(chain: Chain, states: Mapping[str, RevisionState]) -> None:
    """Raise Refused for an applied revision whose file is gone, edited or re-parented."""
    files = {revision.id: revision for revision in chain.revisions}
    faulty = {fault.revision: fault for fault in chain.faults}
    for state in states.values():
        if state.status is not Status.APPLIED:
            continue
        revision = files.get(state.id)
        if revision is None:
            why = (
                str(faulty[state.id]) if state.id in faulty else "its file is gone from the migrations folder"
            )
            raise Refused(
                f"revision {state.id!r} is applied, and {why}. Bring the file back as it was applied "
                f"(checksum {state.checksum[:12]}).",
                revision=state.id,
            )
        if revision.down_revision != state.down_revision:
            raise Refused(
                f"revision {state.id!r} ({revision.file}) was applied after {state.down_revision!r} and now says "
                f"down_revision = {revision.down_revision!r}. Put down_revision back.",
                revision=state.id,
            )
        if revision.checksum != state.checksum:
            raise Refused(
                f"revision {state.id!r} ({revision.file}) was edited after it was applied: its checksum was "
                f"{state.checksum[:12]} and is {revision.checksum[:12]}. Put the file back as it was, and make "
                "the change a new revision. Where the edit is harmless, trigger the DAG accept_checksum, which shows it.",
                revision=state.id,
            )


def refuse_out_of_order(
    chain: Chain, revision: Revision, direction: Direction, states: Mapping[str, RevisionState]
) -> None:
    """Raise Refused unless this is the chain's next step in that direction."""
    place = chain.revisions.index(revision)
    if direction == "upgrade":
        missing = [r.id for r in chain.revisions[:place] if states[r.id].status is not Status.APPLIED]
        if missing:
            raise Refused(
                f"revision {revision.id!r} follows {revision.down_revision!r}, and {', '.join(missing)} "
                f"{'is' if len(missing) == 1 else 'are'} not applied. Trigger migrate with target "
                f"{revision.id!r}, which applies them in order.",
                revision=revision.id,
            )
        return
    above = [r.id for r in chain.revisions[place + 1 :] if states[r.id].status is Status.APPLIED]
    if above:
        raise Refused(
            f"revision {revision.id!r} cannot be downgraded while {', '.join(above)} stand(s) on it. Trigger "
            f"rollback with target {revision.down_revision or 'base'!r}, which takes them back in order.",
            revision=revision.id,
        )


def refuse_unjournaled(
    unit: LedgerUnit, revision: Revision, direction: Direction, state: RevisionState
) -> None:
    """Raise Refused for a downgrade that is to restore what Lockstep never had: the revision was baselined."""
    run = unit.run(state.applied_run) if direction == "downgrade" and state.applied_run else None
    if run is None or run.direction != "baseline":
        return
    restored = [str(one.resource) for one in revision.downgrade if isinstance(one, Restore)]
    if restored:
        raise Refused(
            f"revision {revision.id!r} was baselined by run {run.id}: Lockstep did not apply it, so it has no journal "
            f"and no backup to restore {', '.join(restored)} from. Nothing was changed. Write what it takes as a new "
            "revision.",
            revision=revision.id,
            run=run.id,
        )


def is_there(status: Status, direction: Direction) -> bool:
    """Whether a revision is where a direction would bring it."""
    if direction == "upgrade":
        return status is Status.APPLIED
    return status in (Status.PENDING, Status.ROLLED_BACK)


def _again(
    services: Services, unit: LedgerUnit, ours: Run, revision: Revision, direction: Direction, now: Status
) -> Run:
    """Answer a second call by the same Airflow run: a retry, or a cleared task."""
    if ours.status is RunStatus.FAILED:
        services.log.warning("continuing the failed run, since its task was cleared", run=ours.id)
        refuse_changed(ours, revision)
        return reopen(unit, ours, "its task was cleared")
    if ours.status is RunStatus.OPEN:
        refuse_changed(ours, revision)
    if ours.status in _ENDED_WELL and not is_there(now, direction):
        raise Refused(
            f"this DAG run is over: run {ours.id} of it ended as {ours.status}, and revision {revision.id!r} is {now} "
            "since. Nothing was changed; trigger its DAG anew instead of clearing this run.",
            run=ours.id,
            revision=revision.id,
        )
    services.log.info("this run was opened before", run=ours.id, status=ours.status.value)
    return ours


def _take_over(
    services: Services,
    unit: LedgerUnit,
    held: Run,
    revision: Revision,
    direction: Direction,
    caller: Caller,
    alive: Callable[[Caller], bool],
) -> Run:
    """Continue a run whose Airflow run is gone; refuse while that one lives."""
    holder = f"{held.caller.dag_id} / {held.caller.dag_run_id}"
    silent = services.ledger.silent(held.id)
    if alive(held.caller) and not silent:
        raise Refused(
            f"run {held.id} ({holder}) holds the chain: one run at a time. Wait for it to end, then trigger "
            "this again." + (_paused(held.pause) if held.pause else ""),
            run=held.id,
            holder=holder,
        )
    if silent:
        services.log.warning(
            f"run {held.id} ({holder}) has not renewed its lease for longer than it lasts: whoever works on it "
            "is frozen or gone, and writes nothing more once it is taken over"
        )
    if held.direction == "restore":
        raise Refused(
            f"restore {held.id} of the backup of run {held.facts.get('backup')} was left half-way when {holder} went "
            f"away. Finish it first: trigger the DAG restore with backup = {held.facts.get('backup')!r} as before.",
            run=held.id,
        )
    if held.revision != revision.id or held.direction != direction:
        raise Refused(
            f"run {held.id} ({held.direction} of {held.revision!r}) was left half-way when {holder} went away. "
            f"Finish it first: trigger the DAG of revision {held.revision!r} with direction {held.direction}. "
            "Or say what became of it: trigger the DAG repair.",
            run=held.id,
        )
    refuse_changed(held, revision)
    services.log.warning("taking over a run that was left half-way", run=held.id, left_by=holder)
    by = f"{caller.dag_id} / {caller.dag_run_id}"
    unit.note(held.id, "taken_over", {"from": holder, "by": by}, who=caller.by)
    return unit.change_run(held.id, caller=caller, epoch=held.epoch + 1)


def _paused(pause: Pause) -> str:
    return f" It is paused by {pause.by} since {pause.at:%Y-%m-%d %H:%M} UTC: resume it on its page."


def _redrive(
    services: Services,
    unit: LedgerUnit,
    revision: Revision,
    direction: Direction,
    caller: Caller,
    params: Mapping[str, Any],
    state: RevisionState,
) -> Run:
    """Open a run that tries again the records which the application of the revision left in quarantine."""
    if direction != "upgrade" or state.status is not Status.APPLIED:
        raise Refused(
            f"revision {revision.id!r} is {state.status}, and redrive tries again what an applied one left in "
            "quarantine. Trigger it without redrive, or with direction upgrade once it is applied.",
            revision=revision.id,
        )
    if not waiting(services, state.applied_run):
        return _nothing(services, unit, revision, direction, caller, params)
    return _begin(services, unit, revision, direction, caller, params, state)


def _resume(
    services: Services,
    unit: LedgerUnit,
    failed: RevisionState,
    revision: Revision,
    direction: Direction,
    caller: Caller,
    params: Mapping[str, Any],
) -> Run:
    """Continue a failed run if a person asked for that; refuse otherwise."""
    run = unit.run(failed.last_run) if failed.last_run else None
    why = f": {failed.error_message}" if failed.error_message else ""
    if run is None or failed.id != revision.id or not params.get("resume"):
        raise Refused(
            f"revision {failed.id!r} is {failed.status}{why}. It blocks every later run. Mend the cause, then "
            f"trigger the DAG of {failed.id!r} with resume = true to go on where it stopped, or trigger the DAG "
            f"restore with backup = {failed.last_run!r}, which puts everything back. Where you have mended the data by "
            "hand, trigger the DAG repair, and say what the revision is now.",
            revision=failed.id,
        )
    refuse_changed(run, revision)
    services.log.warning("resuming a failed run", run=run.id, asked_by=caller.by)
    unit.change_run(run.id, caller=caller, epoch=run.epoch + 1)
    return reopen(unit, unit.run(run.id), "resume = true")


def _new_run(
    revision: Revision, direction: Direction, caller: Caller, params: Mapping[str, Any], **more: Any
) -> Run:
    now = datetime.now(timezone.utc)
    way = "up" if direction == "upgrade" else "down"
    return Run(
        id=f"{revision.id}-{way}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        revision=revision.id,
        direction=direction,
        caller=caller,
        checksum=revision.checksum,
        started_at=now,
        params=dict(params),
        **more,
    )


def _nothing(
    services: Services,
    unit: LedgerUnit,
    revision: Revision,
    direction: Direction,
    caller: Caller,
    params: Mapping[str, Any],
) -> Run:
    run = _new_run(revision, direction, caller, params, status=RunStatus.NOTHING_TO_DO)
    unit.add_run(run)
    note_opened(unit, run, description=revision.description)
    where = "applied" if direction == "upgrade" else "not applied"
    services.log.info(f"nothing to do: revision {revision.id} is {where} already", run=run.id)
    return unit.change_run(run.id, status=RunStatus.NOTHING_TO_DO)


def _begin(
    services: Services,
    unit: LedgerUnit,
    revision: Revision,
    direction: Direction,
    caller: Caller,
    params: Mapping[str, Any],
    state: RevisionState,
) -> Run:
    again = direction == "downgrade" or state.status is Status.APPLIED
    source = state.applied_run if again else None
    run = _new_run(revision, direction, caller, params, status=RunStatus.OPEN, source_run=source)
    unit.add_run(run)
    note_opened(unit, run, description=revision.description)
    unit.say(
        run.id,
        "migration.started",
        {
            "revision": revision.id,
            "description": revision.description,
            "direction": direction,
            "run": run.id,
            "by": caller.by,
            "checksum": revision.checksum,
        },
    )
    services.log.info(
        f"opened run {run.id}: {direction} of {revision.id} — {revision.description}",
        by=caller.by,
        transaction=revision.transaction,
        checksum=revision.checksum[:12],
    )
    return run
