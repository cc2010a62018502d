"""Plan the way over the chain: which revisions move, in which order."""

from __future__ import annotations

from dataclasses import dataclass

from lockstep.domain.chain import Chain
from lockstep.domain.errors import Refused
from lockstep.domain.revision import Direction, Revision
from lockstep.domain.run import RevisionState
from lockstep.domain.status import Status
from lockstep.engine.opening import refuse_edited, register_chain
from lockstep.engine.services import Services

PREVIOUS = "previous"


@dataclass(frozen=True, kw_only=True)
class Hop:
    """One revision to move one step."""

    revision_id: str
    dag_id: str
    direction: Direction
    description: str = ""


def plan_route(services: Services, chain: Chain, *, target: str, direction: Direction) -> list[Hop]:
    """Return the hops from where the database is to `target`, in order; empty where it is there.

    `target`: a revision's id, "base" or, up, "head"; down, "previous" is one step back. A run that was left
    half-way comes first, and its revision's DAG finishes it. Raises Refused for a failed revision, an edited
    one, and a target that does not exist.
    """
    services.ledger.check()
    with services.ledger.unit() as unit:
        states = register_chain(unit, chain)
    failed = next((state for state in states.values() if state.status is Status.FAILED), None)
    if failed is not None:
        raise Refused(
            f"revision {failed.id!r} is failed: {failed.error_message}. It blocks every later run. Trigger its DAG "
            "with resume = true once the cause is mended, or trigger the DAG restore with backup = "
            f"{failed.last_run!r}. Where you have mended the data by hand, trigger the DAG repair.",
            revision=failed.id,
        )
    refuse_edited(chain, states)
    if direction == "upgrade":
        return _up(chain, states, target)
    return _down(chain, states, target)


def _up(chain: Chain, states: dict[str, RevisionState], target: str) -> list[Hop]:
    wanted = chain.revisions[: chain.index(target)]
    return [hop_of(r, "upgrade") for r in wanted if states[r.id].status is not Status.APPLIED]


def _down(chain: Chain, states: dict[str, RevisionState], target: str) -> list[Hop]:
    standing = [r for r in chain.revisions if states[r.id].status in (Status.APPLIED, Status.ROLLING_BACK)]
    if target == PREVIOUS:
        return [hop_of(r, "downgrade") for r in standing[-1:]]
    keep = chain.index(target)
    return [hop_of(r, "downgrade") for r in reversed(standing) if chain.revisions.index(r) >= keep]


def hop_of(revision: Revision, direction: Direction) -> Hop:
    """Return the hop that moves a revision one step."""
    return Hop(
        revision_id=revision.id,
        dag_id=revision.dag_id,
        direction=direction,
        description=revision.description,
    )
