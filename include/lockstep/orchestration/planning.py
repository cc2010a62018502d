"""Plans as tasks and pages ask for them: the engine's, over connections that nothing can be written through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from lockstep.domain.approval import Mark
    from lockstep.domain.chain import Chain
    from lockstep.domain.plan import Plan, PlannedRevision
    from lockstep.domain.revision import Direction, Revision
    from lockstep.domain.run import Caller
    from lockstep.engine.routing import Hop
    from lockstep.engine.services import Services


def planned(
    services: Services,
    chain: Chain,
    hops: Sequence[Hop],
    *,
    target: str,
    direction: Direction,
    pages: str = "",
) -> Plan:
    """Return what a route comes to, with the checks of all that it leans on. Reads only.

    `pages`: path of the environment's pages, for links.
    """
    from lockstep.engine.planning.planning import make_plan
    from lockstep.engine.preflight import preflight
    from lockstep.orchestration.wiring import look_in

    look = look_in(services.environment)
    checks = preflight(services, [(chain[hop.revision_id], hop.direction) for hop in hops], look=look)
    return make_plan(
        services,
        chain,
        hops,
        target=target,
        direction=direction,
        look=look,
        checks=checks,
        url=_report_url(pages),
    )


def plan_now(folder: Path, target: str, direction: Direction, environment: str = "") -> Plan:
    """Return the plan to a target as things are, for a page: asked in the API server, outside of any task."""
    from lockstep.domain.chain import load_chain
    from lockstep.engine.routing import plan_route
    from lockstep.orchestration.environments import ENVIRONMENT, pages_of
    from lockstep.orchestration.logs import TaskLog
    from lockstep.orchestration.params import DRY_RUN
    from lockstep.orchestration.wiring import services_for

    services = services_for({ENVIRONMENT: environment, DRY_RUN: True}, TaskLog())
    chain = load_chain(folder)
    hops = plan_route(services, chain, target=target, direction=direction)
    pages = pages_of(services.environment)
    return planned(services, chain, hops, target=target, direction=direction, pages=pages)


def one_step(
    services: Services, chain: Chain, revision: Revision, direction: Direction, pages: str = ""
) -> Plan:
    """Return what one revision's own DAG would do. Refused where it must not move now."""
    from lockstep.engine.opening import is_there, refuse_edited, refuse_out_of_order, register_chain
    from lockstep.engine.routing import hop_of

    services.ledger.check()
    with services.ledger.unit() as unit:
        states = register_chain(unit, chain)
    hops = []
    if not is_there(states[revision.id].status, direction):
        refuse_edited(chain, states)
        refuse_out_of_order(chain, revision, direction, states)
        hops = [hop_of(revision, direction)]
    return planned(services, chain, hops, target=revision.id, direction=direction, pages=pages)


def approval_wanted(
    services: Services,
    chain: Chain,
    revision: Revision,
    direction: Direction,
    caller: Caller,
    *,
    redrive: bool = False,
    pages: str = "",
) -> PlannedRevision | Literal["busy"] | None:
    """Return what a person has to be asked about before a run of the revision is opened; None for nothing.

    Nothing where the policy asks for nothing, where the approval is in the ledger, and where nothing is to be done.
    `busy` where a run is open or unsettled: open_run continues or refuses that, and must not begin another. Refused,
    with the approval made void, where it was for something else.
    """
    from lockstep.domain.approval import Standing
    from lockstep.engine.approving import refuse_void
    from lockstep.engine.opening import is_there, refuse_edited, refuse_out_of_order, register_chain
    from lockstep.engine.planning.planning import make_plan
    from lockstep.engine.routing import hop_of
    from lockstep.orchestration.wiring import look_in

    if services.environment.approve == "never":
        return None
    services.ledger.check()
    with services.ledger.unit() as unit:
        states = register_chain(unit, chain)
        held = unit.open_run()
    if held is not None or any(_is_unsettled(state) for state in states.values()):
        return "busy"
    if is_there(states[revision.id].status, direction) and not redrive:
        return None
    refuse_edited(chain, states)
    if not redrive:
        refuse_out_of_order(chain, revision, direction, states)
    plan = make_plan(
        services,
        chain,
        [hop_of(revision, direction)],
        target=revision.id,
        direction=direction,
        look=look_in(services.environment),
        url=_report_url(pages),
    )
    (one,) = plan.revisions
    refuse_void(services, one.mark, one.approval)
    return one if one.approval.state is Standing.NEEDED else None


def refuse_plan(services: Services, plan: Plan) -> None:
    """Raise for what must not start: checks that failed, and approvals of something else, which are void then."""
    from lockstep.engine.approving import refuse_void
    from lockstep.engine.preflight import refuse

    refuse(plan.checks)
    for one in plan.revisions:
        refuse_void(services, one.mark, one.approval)


def approve(
    services: Services, marks: Sequence[Mark], caller: Caller, *, by: str, at: datetime | None
) -> None:
    """Keep somebody's yes to what they were shown."""
    from lockstep.engine import approving

    approving.approve(services, marks, caller, approving.Answered(by=by, at=at))


def reject(
    services: Services, marks: Sequence[Mark], caller: Caller, *, by: str, at: datetime | None
) -> None:
    """Keep somebody's no, and raise Refused."""
    from lockstep.engine import approving

    approving.reject(services, marks, caller, approving.Answered(by=by, at=at))


def _is_unsettled(state: object) -> bool:
    from lockstep.domain.status import UNSETTLED

    return getattr(state, "status", None) in UNSETTLED


def _report_url(pages: str) -> Callable[[str], str]:
    from lockstep.orchestration.links import report_url

    return lambda rehearsal_id: report_url(rehearsal_id, pages)
