"""Let a person decide what a revision that was left failed or half-way really is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from lockstep.domain.chain import Chain
from lockstep.domain.errors import Refused
from lockstep.domain.run import Caller, RevisionState, Run
from lockstep.domain.status import UNSETTLED, RunStatus, Status
from lockstep.engine.auditing.archiving import archive_history
from lockstep.engine.care import decided, decided_before, given_reason, keep, not_held, told
from lockstep.engine.housekeeping.run_end import look_around
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.restoring.closing import fence_off
from lockstep.engine.services import Services

Outcome = Literal["applied", "rolled_back"]
_OUTCOMES: dict[str, Status] = {"applied": Status.APPLIED, "rolled_back": Status.ROLLED_BACK}
#: status now → the edges to what a person says
_WAYS: dict[Status, dict[Status, tuple[Status, ...]]] = {
    Status.APPLIED: {
        Status.UPGRADING: (Status.APPLIED,),
        Status.ROLLING_BACK: (Status.APPLIED,),
        Status.FAILED: (Status.ROLLING_BACK, Status.APPLIED),
        Status.PENDING: (Status.APPLIED,),
        Status.ROLLED_BACK: (Status.APPLIED,),
    },
    Status.ROLLED_BACK: {
        Status.UPGRADING: (Status.ROLLING_BACK, Status.ROLLED_BACK),
        Status.ROLLING_BACK: (Status.ROLLED_BACK,),
        Status.FAILED: (Status.ROLLING_BACK, Status.ROLLED_BACK),
        Status.APPLIED: (Status.ROLLING_BACK, Status.ROLLED_BACK),
    },
}


@dataclass(frozen=True, kw_only=True)
class Repair:
    """What a person's word would change."""

    revision: str
    becomes: Status
    now: Status
    #: the run that was left half-way or failed
    run: str
    #: expectations that do not hold, though it is to be applied
    not_held: tuple[str, ...] = ()
    #: what stays behind of the run
    warnings: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say it as a person reads it."""
        first = f"revision {self.revision} is {self.now}, and becomes {self.becomes}; run {self.run} ends with that"
        return [first, *(f"does not hold: {one}" for one in self.not_held), *self.warnings]

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "becomes": self.becomes.value, "now": self.now.value}

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Repair:
        return Repair(
            revision=kept["revision"],
            becomes=Status(kept["becomes"]),
            now=Status(kept["now"]),
            run=kept["run"],
            not_held=tuple(kept["not_held"]),
            warnings=tuple(kept["warnings"]),
        )


def plan_repair(
    services: Services,
    chain: Chain,
    *,
    revision: str,
    outcome: str,
    force: bool,
    alive: Callable[[Caller], bool],
) -> Repair:
    """Return what the repair would do; reads only. `revision` may be empty where only one needs it.

    Raises Refused where nothing is to be repaired, while the run lives, and where the revision is to be applied and
    verify() does not hold, unless `force`.
    """
    if outcome not in _OUTCOMES:
        raise Refused(
            f"outcome is {outcome!r}. Say what the data really is: 'applied' or 'rolled_back'.",
            outcome=outcome,
        )
    open_run = next((run for run in services.ledger.runs(limit=1000) if run.status is RunStatus.OPEN), None)
    if open_run is not None:
        _refuse_living(services, open_run, alive)
    state = _the_one(services.ledger.revisions(), open_run, revision)
    half = open_run.id if open_run is not None else state.last_run
    if half is None:
        raise Refused(
            f"the ledger knows no run of revision {state.id!r}: restore the ledger.", revision=state.id
        )
    becomes = _OUTCOMES[outcome]
    wrong = not_held(services, chain[state.id]) if becomes is Status.APPLIED else []
    if wrong and not force:
        raise Refused(
            f"revision {state.id!r} is not applied: expected {told(wrong)}. Nothing was changed. Mend the data, or "
            "trigger it again with force = true if you know better, and say why in the reason.",
            revision=state.id,
        )
    return Repair(
        revision=state.id,
        becomes=becomes,
        now=state.status,
        run=half,
        not_held=tuple(wrong),
        warnings=tuple(_left_behind(services, services.ledger.run(half), becomes)),
    )


def repair(
    services: Services,
    chain: Chain,
    plan: Repair,
    *,
    caller: Caller,
    params: Mapping[str, Any],
    reason: str,
    alive: Callable[[Caller], bool],
) -> Run:
    """Give the revision the status that a person chose, and end the run that was left; the next run starts unaided.

    A second call by the same Airflow run does what is left. Raises Refused where the chain has moved since the plan.
    """
    reason = given_reason(reason)
    services.ledger.check()
    before = decided_before(services, caller, RunStatus.REPAIRED)
    if before:
        run = before[-1]
    else:
        with services.ledger.unit() as unit:
            run = _settled(services, unit, plan, caller, params, reason, alive)
    revision = chain[run.revision]
    # After the ledger: whoever of the old run still lives is refused from here on, and finds it ended before that.
    fence_off(services, services.ledger.run(run.facts["ended"]), revision.databases)
    services.ledger.ended_leases(remove=True)
    keep(services, revision, run)
    archive_history(services)
    look_around(services, revision.databases, run)
    services.log.info(f"revision {run.revision} is {run.facts['outcome']} by run {run.id}", by=caller.by)
    return run


def _the_one(states: Mapping[str, RevisionState], open_run: Run | None, named: str) -> RevisionState:
    """Return the revision that is to be repaired; Refused where there is none, or another was named."""
    unsettled = [state for state in states.values() if state.status in UNSETTLED]
    if open_run is not None and open_run.revision not in {state.id for state in unsettled}:
        unsettled.append(states[open_run.revision])
    if not unsettled:
        raise Refused("nothing is to be repaired: no revision is failed, and no run was left half-way.")
    found = [state for state in unsettled if named in ("", state.id)]
    if len(found) != 1:
        listed = ", ".join(f"{state.id!r} ({state.status})" for state in unsettled)
        raise Refused(
            f"revision {named!r} needs no repair. Name one of {listed}."
            if named
            else f"name one of {listed}.",
            revision=named,
        )
    return found[0]


def _refuse_living(services: Services, held: Run, alive: Callable[[Caller], bool]) -> None:
    holder = f"{held.caller.dag_id} / {held.caller.dag_run_id}"
    if alive(held.caller) and not services.ledger.silent(held.id):
        raise Refused(
            f"run {held.id} ({holder}) works on the chain. Nothing was changed; wait for it to end, or mark its DAG "
            "run failed, then trigger this again.",
            run=held.id,
            holder=holder,
        )
    if held.direction == "restore":
        raise Refused(
            f"restore {held.id} was left half-way, and its data is part of one state and part of another. Finish it "
            f"first: trigger the DAG restore with backup = {held.facts.get('backup')!r} as before.",
            run=held.id,
        )


def _left_behind(services: Services, half: Run, becomes: Status) -> list[str]:
    """Name what of the run stays that a person should know: shards, journaled batches and parked things."""
    shards = services.ledger.shards(half.id)
    undone = [shard for shard in shards if shard.state != "done"]
    lines = []
    if undone:
        lines.append(
            f"{len(undone)} of {len(shards)} shard(s) of run {half.id} did not end: look what they had done"
        )
    won = sum(
        batch.state == "won"
        for phase, step in sorted(
            {(phase, s.step) for phase in _PHASES for s in services.ledger.shards(half.id, phase)}
        )
        for batch in services.ledger.batches(half.id, phase, step)
    )
    if won:
        lines.append(
            f"{won} batch(es) of run {half.id} are in the journal and may or may not have been written: their records "
            "are either as before or as after"
        )
    kept = [one for one in services.ledger.parked() if one.run_id == half.id]
    lines += [
        f"{one.kind} {one.resource} ({one.conn_id}) is parked as {one.parked_as}; housekeeping removes it in time"
        for one in kept
    ]
    if becomes is Status.APPLIED and half.direction == "downgrade" and half.backed_up:
        lines.append(
            "a downgrade had begun, and what it had taken out of the journal is not there for another: put a backup "
            "back instead of that"
        )
    return lines


_PHASES: tuple[Literal["upgrade", "undo", "downgrade"], ...] = ("upgrade", "undo", "downgrade")


def _settled(
    services: Services,
    unit: LedgerUnit,
    plan: Repair,
    caller: Caller,
    params: Mapping[str, Any],
    reason: str,
    alive: Callable[[Caller], bool],
) -> Run:
    held = unit.open_run()
    if held is not None:
        _refuse_living(services, held, alive)
    state = unit.revisions()[plan.revision]
    if state.status is not plan.now or (held.id if held else state.last_run) != plan.run:
        raise Refused(
            f"revision {plan.revision!r} has moved since its repair was planned. Nothing was changed; trigger it again.",
            revision=plan.revision,
        )
    half = unit.run(plan.run)
    stands = _stands(half)
    facts = {
        "outcome": plan.becomes.value,
        "was": plan.now.value,
        "ended": half.id,
        "applied_run": stands if plan.becomes is Status.APPLIED else None,
        "reason": reason,
        "not_held": list(plan.not_held),
        "warnings": list(plan.warnings),
    }
    run = decided(
        plan.revision,
        "repair",
        RunStatus.REPAIRED,
        checksum=half.checksum,
        caller=caller,
        params=params,
        facts=facts,
    )
    why = f"a person decided by run {run.id} what became of it: {reason}"
    # Its epoch rises, so that a worker that still lives is refused at its next heartbeat; and it is no failed run
    # any more, which a cleared task would open again.
    unit.change_run(half.id, status=RunStatus.REPAIRED, epoch=half.epoch + 1, error=half.error or why)
    unit.add_run(run)
    for status in _WAYS[plan.becomes].get(plan.now, ()):
        unit.set_status(
            plan.revision, status, run_id=run.id, reason=f"repaired: {reason}", applied_run=stands
        )
    unit.note(run.id, "repaired", facts)
    return unit.run(run.id)


def _stands(half: Run) -> str | None:
    """Return the run whose effects stand where the revision is applied after all."""
    if half.source_run is not None:
        return half.source_run
    return half.id if half.direction == "upgrade" else None


def repaired(run: Run) -> dict[str, Any]:
    """Return what the DAG run came to."""
    return {
        "revision": run.revision,
        "status": run.facts["outcome"],
        "was": run.facts["was"],
        "run": run.id,
        "ended": run.facts["ended"],
    }
