"""Adopt databases that already are at a revision: mark it and those below it applied, and run nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lockstep.domain.chain import Chain
from lockstep.domain.errors import Refused
from lockstep.domain.revision import Revision
from lockstep.domain.run import Caller, RevisionState, Run
from lockstep.domain.status import UNSETTLED, RunStatus, Status
from lockstep.engine.auditing.archiving import archive_history
from lockstep.engine.care import decided, decided_before, given_reason, keep, not_held, told
from lockstep.engine.housekeeping.run_end import look_around
from lockstep.engine.opening import refuse_edited, register_chain
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.services import Services

#: instead of a revision's id: the verify() of none is asked
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """Which revisions become applied, oldest first, as their files are now."""

    target: str
    #: revision → checksum of its file
    revisions: Mapping[str, str]
    #: those whose verify() was not asked, or does not hold and need not
    unverified: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Say it as a person reads it."""
        if not self.revisions:
            return [f"nothing to do: the ledger says already that the databases are at {self.target!r}"]
        listed = [f"revision {name} becomes applied, and nothing is run" for name in self.revisions]
        return listed + [f"verify() of revision {name} was not asked" for name in self.unverified]


def plan_baseline(
    services: Services,
    chain: Chain,
    states: Mapping[str, RevisionState],
    *,
    target: str,
    unverified: Collection[str] = (),
) -> Adoption:
    """Return what a baseline at `target` would mark; reads only.

    `unverified`: revisions whose verify() is not asked, or `all`. Raises Refused where something is half-way, where
    the ledger knows a later revision as applied, and where an expectation does not hold on the live data.
    """
    wanted = chain.revisions[: chain.index(target)]
    _refuse_unknown(chain, unverified)
    _refuse_moved(chain, wanted, states)
    missing = [revision for revision in wanted if not _is_applied(states, revision.id)]
    passed_by = tuple(r.id for r in missing if ALL in unverified or r.id in unverified)
    wrong = {
        revision.id: problems
        for revision in missing
        if revision.id not in passed_by and (problems := not_held(services, revision))
    }
    if wrong:
        named = "; ".join(f"revision {name}: expected {told(problems)}" for name, problems in wrong.items())
        raise Refused(
            f"the databases are not at {target!r}: {named}. Nothing was changed. Name a revision that they are at, or, "
            f"where a later one has changed that on purpose, trigger it again with unverified = "
            f"{', '.join(wrong)!r} and say so in the reason.",
            revisions=list(wrong),
        )
    return Adoption(
        target=target,
        revisions={revision.id: revision.checksum for revision in missing},
        unverified=passed_by,
    )


def adopt(
    services: Services,
    chain: Chain,
    plan: Adoption,
    *,
    caller: Caller,
    params: Mapping[str, Any],
    reason: str,
) -> list[Run]:
    """Mark the planned revisions applied, all of them or none, and keep the shape of their databases.

    A second call by the same Airflow run does what is left. Raises Refused where the chain has moved since.
    """
    reason = given_reason(reason)
    services.ledger.check()
    runs = decided_before(services, caller, RunStatus.BASELINED)
    if not runs and plan.revisions:
        with services.ledger.unit() as unit:
            runs = _marked(unit, chain, plan, caller, params, reason)
    for run in runs:
        services.log.info(f"revision {run.revision} is applied: baselined by run {run.id}")
        keep(services, chain[run.revision], run)
    if runs:
        archive_history(services)
        touched = {database: None for run in runs for database in chain[run.revision].databases}
        look_around(services, touched, runs[-1])
    return runs


def _marked(
    unit: LedgerUnit,
    chain: Chain,
    plan: Adoption,
    caller: Caller,
    params: Mapping[str, Any],
    reason: str,
) -> list[Run]:
    held = unit.open_run()
    if held is not None:
        raise Refused(
            f"run {held.id} ({held.caller.dag_id} / {held.caller.dag_run_id}) holds the chain. Nothing was changed; "
            "wait for it to end, then trigger this again.",
            run=held.id,
        )
    states = register_chain(unit, chain)
    wanted = chain.revisions[: chain.index(plan.target)]
    _refuse_moved(chain, wanted, states)
    now = {r.id: r.checksum for r in wanted if not _is_applied(states, r.id)}
    if now != dict(plan.revisions):
        raise Refused(
            f"the chain has moved since the baseline at {plan.target!r} was planned. Nothing was changed; trigger it "
            "again."
        )
    return [_mark(unit, chain[name], plan, caller, params, reason) for name in plan.revisions]


def _mark(
    unit: LedgerUnit,
    revision: Revision,
    plan: Adoption,
    caller: Caller,
    params: Mapping[str, Any],
    reason: str,
) -> Run:
    verified = revision.id not in plan.unverified
    facts = {"target": plan.target, "reason": reason, "verified": verified}
    run = decided(
        revision.id,
        "baseline",
        RunStatus.BASELINED,
        checksum=revision.checksum,
        caller=caller,
        params=params,
        facts=facts,
    )
    unit.add_run(run)
    unit.set_status(
        revision.id,
        Status.APPLIED,
        run_id=run.id,
        reason=f"baselined: the databases were at {plan.target!r} already. {reason}",
    )
    unit.note(run.id, "baselined", {**facts, "expectations": len(revision.expectations) if verified else 0})
    return unit.run(run.id)


def _is_applied(states: Mapping[str, RevisionState], revision: str) -> bool:
    return revision in states and states[revision].status is Status.APPLIED


def _refuse_unknown(chain: Chain, unverified: Collection[str]) -> None:
    for name in unverified:
        if name != ALL:
            chain[name]


def _refuse_moved(chain: Chain, wanted: Collection[Revision], states: Mapping[str, RevisionState]) -> None:
    """Raise Refused where a run is half-way, or where what is applied is not the beginning of what is wanted."""
    for state in states.values():
        if state.status in UNSETTLED:
            raise Refused(
                f"revision {state.id!r} is {state.status}: its run was left half-way. Nothing was changed. Settle it "
                "first: trigger its own DAG with resume = true, or the DAG repair.",
                revision=state.id,
            )
    refuse_edited(chain, states)
    applied = [revision.id for revision in chain.revisions if _is_applied(states, revision.id)]
    begins = [revision.id for revision in wanted][: len(applied)]
    if applied != begins:
        raise Refused(
            f"the ledger says already that {', '.join(applied)} {'is' if len(applied) == 1 else 'are'} applied, and a "
            "baseline only adds what follows those. Nothing was changed; name a later target, or trigger migrate or "
            "rollback.",
            applied=applied,
        )
