"""Open a restore: see that nobody else works, end what was left half-way, and record that it begins."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any

from lockstep.domain.chain import Chain
from lockstep.domain.errors import Refused
from lockstep.domain.resources import Database
from lockstep.domain.run import Caller, Run
from lockstep.domain.status import RunStatus
from lockstep.engine import metering
from lockstep.engine.auditing.noting import note_opened
from lockstep.engine.opening import current_run
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.restoring.closing import close_open_run, fence_off
from lockstep.engine.restoring.plan import RestorePlan
from lockstep.engine.restoring.targeting import database_of
from lockstep.engine.services import Services


def open_restore(
    services: Services,
    chain: Chain,
    plan: RestorePlan,
    *,
    caller: Caller,
    params: Mapping[str, Any],
    alive: Callable[[Caller], bool],
    approved: Mapping[str, Any] | None = None,
) -> Run:
    """Open the run of a restore, or carry on with the one that was interrupted; a second call returns the first's.

    Runs that were left half-way, and those that failed over what is put back, end with it: their workers write
    nothing more once this has returned. `approved`: who said so, and when, for the history. Raises Refused for
    what the plan says against it, and while another run lives.
    """
    plan.refuse()
    services.ledger.check()
    with services.ledger.unit() as unit:
        run = _opened(services, unit, plan, caller, params, alive, approved)
    return _alone(services, chain, run)


def opened_before(services: Services, chain: Chain, caller: Caller, backup: str) -> Run | None:
    """Return the restore that this Airflow run opened or took over; None where it may open one.

    Refused where another DAG run has taken it over, where it is over, and where it puts another backup back.
    """
    ours = services.ledger.run_of(caller.dag_id, caller.dag_run_id)
    if ours is None or ours.status is RunStatus.STOPPED:
        return None
    if ours.status is RunStatus.RESTORED:
        raise Refused(
            f"this DAG run is over: restore {ours.id} of it has put the backup of run {ours.facts['backup']} back. "
            "Nothing was changed now; to put a backup back once more, trigger the DAG anew.",
            run=ours.id,
        )
    if ours.facts["backup"] != backup:
        raise Refused(
            f"this DAG run has begun to put the backup of run {ours.facts['backup']} back, and not that of {backup}. "
            "Nothing more was changed; clear it again and choose the former, or trigger the DAG anew with the other.",
            run=ours.id,
            backup=backup,
        )
    services.log.info("this restore was opened before", run=ours.id, status=ours.status.value)
    return _alone(services, chain, current_run(services, caller.dag_id, caller.dag_run_id))


def _alone(services: Services, chain: Chain, run: Run) -> Run:
    """See that nobody writes any more for the runs that end with this one."""
    if run.status is RunStatus.OPEN:
        for closed in run.facts["closes"]:
            fence_off(services, services.ledger.run(closed), _databases(services, chain, closed))
            services.reached("run closed")
        services.ledger.ended_leases(remove=True)
    return run


def _opened(
    services: Services,
    unit: LedgerUnit,
    plan: RestorePlan,
    caller: Caller,
    params: Mapping[str, Any],
    alive: Callable[[Caller], bool],
    approved: Mapping[str, Any] | None,
) -> Run:
    ours = services.ledger.run_of(caller.dag_id, caller.dag_run_id)
    if ours is not None and (ours.status is not RunStatus.STOPPED):
        services.log.info("this restore was opened before", run=ours.id, status=ours.status.value)
        return ours
    held = unit.open_run()
    if held is not None:
        _refuse_living(services, held, alive)
        if plan.carries_on == held.id:
            return _carry_on(services, unit, held, caller)
    if (held.id if held else None) not in (None, *plan.closes) or plan.carries_on:
        raise _changed(plan)
    _refuse_changed(unit, plan)
    run = _begin(unit, plan, caller, params, approved, held)
    metering.started(services, run)
    services.log.info(f"opened {run.id}: the backup of run {plan.backup} is put back", by=caller.by)
    return run


def _refuse_living(services: Services, held: Run, alive: Callable[[Caller], bool]) -> None:
    if alive(held.caller) and not services.ledger.silent(held.id):
        holder = f"{held.caller.dag_id} / {held.caller.dag_run_id}"
        raise Refused(
            f"run {held.id} ({holder}) holds the chain: one run at a time. Wait for it to end, or mark its DAG run "
            "failed, then trigger this again.",
            run=held.id,
            holder=holder,
        )


def _refuse_changed(unit: LedgerUnit, plan: RestorePlan) -> None:
    """Raise Refused where a revision has moved since the plan was made."""
    now = {state.id: state.status for state in unit.revisions().values()}
    if now != dict(plan.statuses):
        raise _changed(plan)


def _changed(plan: RestorePlan) -> Refused:
    return Refused(
        f"the chain has moved since the restore of {plan.backup} was planned. Nothing was changed; trigger it again.",
        backup=plan.backup,
    )


def _carry_on(services: Services, unit: LedgerUnit, held: Run, caller: Caller) -> Run:
    left_by = f"{held.caller.dag_id} / {held.caller.dag_run_id}"
    services.log.warning("carrying on with a restore that was interrupted", run=held.id, left_by=left_by)
    by = f"{caller.dag_id} / {caller.dag_run_id}"
    unit.note(held.id, "taken_over", {"from": left_by, "by": by}, who=caller.by)
    return unit.change_run(held.id, caller=caller, epoch=held.epoch + 1)


def _begin(
    unit: LedgerUnit,
    plan: RestorePlan,
    caller: Caller,
    params: Mapping[str, Any],
    approved: Mapping[str, Any] | None,
    held: Run | None,
) -> Run:
    now = datetime.now(timezone.utc)
    run = Run(
        id=f"{plan.revision}-restore-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        revision=plan.revision,
        direction="restore",
        status=RunStatus.OPEN,
        caller=caller,
        checksum=plan.checksum,
        started_at=now,
        params=dict(params),
        facts={
            "backup": plan.backup,
            "targets": [target.as_json() for target in plan.targets],
            "fates": [fate.as_json() for fate in plan.fates],
            "statuses": {name: status.value for name, status in plan.statuses.items()},
            "closes": list(plan.closes),
            "reconciles": plan.reconciles,
            "plan": plan.words,
        },
    )
    for closed in plan.closes:
        if held is not None and held.id == closed:
            close_open_run(unit, held, run.id)
        else:
            unit.change_run(closed, epoch=unit.run(closed).epoch + 1)
    unit.add_run(run)
    note_opened(unit, run, backup=plan.backup)
    if approved:
        unit.note(run.id, "restore_approved", dict(approved))
    unit.say(
        run.id,
        "migration.started",
        {
            "revision": plan.revision,
            "direction": "restore",
            "backup": plan.backup,
            "run": run.id,
            "by": caller.by,
        },
    )
    return unit.run(run.id)


def _databases(services: Services, chain: Chain, run_id: str) -> list[Database]:
    """Return the databases of a run: those that it backed up, since it changed no others."""
    return [
        database_of(chain, manifest.conn_id, manifest.kind) for manifest in services.ledger.backups(run_id)
    ]
