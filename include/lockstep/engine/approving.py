"""Whether a person has allowed a revision to move, and whether their word still counts.

An approval is bound to the SHA-256 of the revision's file, of what it would do, and of the report of the rehearsal
that was shown. It counts until a run that it was for has ended, or until one of them changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from lockstep.domain.approval import Allowed, Approval, Mark, Standing, why_asked
from lockstep.domain.errors import Refused
from lockstep.domain.looking import Size
from lockstep.domain.revision import Revision
from lockstep.domain.run import Caller
from lockstep.engine.planning.rehearsed import report_problem
from lockstep.engine.services import Services

#: runs of a revision that are looked through, latest first
RUNS = 200


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a person said, and when."""

    by: str
    at: datetime | None = None


def allowed(services: Services, revision: Revision, mark: Mark, size: Size) -> Allowed:
    """Return how things are with the approval of a revision. Reads only.

    `size`: how many records its operations concern.
    """
    why = why_asked(
        services.environment,
        revision.operations(mark.direction),
        direction=mark.direction,
        records=size.records,
        at_least=size.least,
    )
    if why is None:
        return Allowed(state=Standing.NOT_NEEDED)
    approval = _latest(services, mark)
    if approval is None:
        return Allowed(state=Standing.NEEDED, why=why)
    changed = _changed(services, revision, approval, mark)
    if changed is not None:
        return Allowed(state=Standing.VOID, why=changed, approval=approval)
    return Allowed(state=Standing.APPROVED, why=why, approval=approval)


def _latest(services: Services, mark: Mark) -> Approval | None:
    """Return the last approval of a revision's direction, unless a run has used it up or it was voided."""
    given = [one for one in services.ledger.approvals(mark.revision) if one.mark.direction == mark.direction]
    if not given or given[0].voided_at is not None:
        return None
    return None if given[0].used_up_by(services.ledger.runs(mark.revision, limit=RUNS)) else given[0]


def _changed(services: Services, revision: Revision, approval: Approval, mark: Mark) -> str | None:
    """Return what of that which was approved is another now."""
    seen = approval.mark
    who = f"{approval.by} approved it" + (f" at {approval.at:%Y-%m-%d %H:%M:%S} UTC" if approval.at else "")
    if seen.checksum != mark.checksum:
        return (
            f"revision {mark.revision!r} ({revision.file}) was edited after {who}: its checksum was "
            f"{seen.checksum[:12]} and is {mark.checksum[:12]}."
        )
    if seen.plan_sha256 != mark.plan_sha256:
        return (
            f"what revision {mark.revision!r} ({revision.file}) would do is not what it was when {who}: something that "
            "it imports, such as resources.py, has changed."
        )
    problem = _report_changed(services, seen)
    return None if problem is None else f"{problem} Revision {mark.revision!r} leans on it: {who}."


def _report_changed(services: Services, seen: Mark) -> str | None:
    if seen.rehearsal_id is None:
        return None
    try:
        rehearsal = services.ledger.rehearsal(seen.rehearsal_id)
        problem = report_problem(services, rehearsal)
    except Refused as refusal:
        return str(refusal)
    if rehearsal.report_sha256 != seen.report_sha256:
        return f"rehearsal {seen.rehearsal_id!r} has another report than the one that was seen."
    return None if problem is None else f"Of rehearsal {seen.rehearsal_id!r} {problem}."


def refuse_void(services: Services, mark: Mark, found: Allowed) -> None:
    """Let an approval that counts no more be void for good, say so in the history, and raise Refused.

    No other approval is there then, so whoever asks again asks a person.
    """
    if found.state is not Standing.VOID or found.approval is None:
        return
    approval = found.approval
    with services.ledger.unit() as unit:
        if unit.void_approval(approval.id, found.why):
            told = {**asdict(approval.mark), "approval": approval.id, "by": approval.by, "reason": found.why}
            unit.note(None, "approval_void", {**told, "now": asdict(mark)}, who="scheduler")
    raise Refused(
        f"{found.why} The approval is void, and nothing was changed. Look at what has changed; put it back or keep it, "
        "then trigger this again: somebody is asked anew.",
        revision=mark.revision,
        approval=approval.id,
    )


def approve(services: Services, marks: Sequence[Mark], caller: Caller, said: Answered) -> list[Approval]:
    """Keep a person's yes to what they were shown, and tell the history. The same answer twice is one."""
    environment = services.environment
    kept = []
    with services.ledger.unit() as unit:
        for mark in marks:
            standing = _latest(services, mark)
            if standing is not None and standing.mark == mark:
                continue
            approval = unit.add_approval(
                Approval(
                    mark=mark,
                    environment=environment.name,
                    policy=environment.approve,
                    by=said.by,
                    dag_id=caller.dag_id,
                    dag_run_id=caller.dag_run_id,
                )
            )
            unit.note(
                None,
                "approved",
                {**_said(services, mark, caller, said), "approval": approval.id},
                who=said.by,
            )
            kept.append(approval)
    for approval in kept:
        services.log.info(f"{said.by} approved the {approval.mark.direction} of {approval.mark.revision}")
    return kept


def reject(services: Services, marks: Sequence[Mark], caller: Caller, said: Answered) -> None:
    """Tell the history of a person's no, and raise Refused. The same answer twice is one."""
    new = [_said(services, mark, caller, said) for mark in marks]
    new = [told for told in new if not told_before(services, "rejected", told)]
    with services.ledger.unit() as unit:
        for told in new:
            unit.note(None, "rejected", told, who=said.by)
    named = ", ".join(f"{mark.direction} of {mark.revision!r}" for mark in marks)
    raise Refused(
        f"{said.by} rejected it: {named}. Nothing was changed; to ask again, trigger the DAG again.",
        by=said.by,
        revisions=[mark.revision for mark in marks],
    )


def told_before(services: Services, kind: str, told: Mapping[str, Any]) -> bool:
    """Say whether the history has an entry that tells this, and maybe more: where, in which try, with what versions."""
    return any(
        told.items() <= entry["detail"].items()
        for entry in services.ledger.history()
        if entry["kind"] == kind
    )


def _said(services: Services, mark: Mark, caller: Caller, said: Answered) -> dict[str, Any]:
    return {
        **asdict(mark),
        "environment": services.environment.name,
        "policy": services.environment.approve,
        "answered_at": said.at.isoformat() if said.at else None,
        "dag_run": f"{caller.dag_id}/{caller.dag_run_id}",
        "reason": f"{services.environment.name} asks by its policy {services.environment.approve!r}",
    }
