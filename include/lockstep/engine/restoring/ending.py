"""End a restore: make the ledger say what is so, in one unit, and keep the whole of it in the archive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from lockstep.domain.chain import Chain
from lockstep.domain.errors import NotAtTarget
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine import metering
from lockstep.engine.auditing.archiving import archive_history
from lockstep.engine.auditing.noting import note_ended
from lockstep.engine.housekeeping.run_end import look_around
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.restoring.rearming import rearm
from lockstep.engine.restoring.work import has_begun, works
from lockstep.engine.services import Services

#: status now → the edges to where a restore brings a revision
_WAYS = {
    Status.ROLLED_BACK: {
        Status.APPLIED: (Status.ROLLING_BACK, Status.ROLLED_BACK),
        Status.UPGRADING: (Status.ROLLING_BACK, Status.ROLLED_BACK),
        Status.FAILED: (Status.ROLLING_BACK, Status.ROLLED_BACK),
        Status.ROLLING_BACK: (Status.ROLLED_BACK,),
    },
    Status.APPLIED: {
        Status.ROLLED_BACK: (Status.APPLIED,),
        Status.UPGRADING: (Status.APPLIED,),
        Status.FAILED: (Status.ROLLING_BACK, Status.APPLIED),
        Status.ROLLING_BACK: (Status.APPLIED,),
    },
}


def end_restore(services: Services, chain: Chain, run: Run) -> Run:
    """Give a restore its final status, and the revisions theirs; recorded before, return it as it is.

    One that overwrote something and is not through stays open, so that no other run starts on it: started again, it
    carries on.
    """
    run = services.ledger.run(run.id)
    was_open = run.status is RunStatus.OPEN
    through = was_open and _is_through(services, run)
    if through:
        for fate in run.facts["fates"]:
            if fate["applied_run"]:
                rearm(services, chain[fate["revision"]], fate["applied_run"])
    services.reached("journals rearmed")
    with services.ledger.unit() as unit:
        run = unit.run(run.id)
        if run.status is RunStatus.OPEN:
            run = _close(services, unit, chain, run, through)
            if run.status is not RunStatus.OPEN:
                note_ended(services, unit, run)
    if was_open and run.status is not RunStatus.OPEN:
        metering.ended(services, run)
    services.log.info(f"restore {run.id} is {run.status}", error=run.error)
    _archive(services, run)
    archive_history(services)
    if run.status is RunStatus.RESTORED:
        look_around(services, [work.into for work in works(services, run)], run)
    return run


def _is_through(services: Services, run: Run) -> bool:
    return all(run.facts.get(work.done_mark) for work in works(services, run))


def _close(services: Services, unit: LedgerUnit, chain: Chain, run: Run, through: bool) -> Run:
    data = _told(run)
    if not through and not has_begun(run):
        unit.say(run.id, "migration.failed", data | {"error": run.error, "changed": False})
        return unit.change_run(run.id, status=RunStatus.STOPPED)
    if not through:
        if run.facts.get("said_failed"):
            return run
        unit.say(run.id, "migration.failed", data | {"error": run.error, "changed": True})
        return unit.change_run(run.id, facts={"said_failed": True})
    moved = _reconcile(unit, chain, run)
    facts = {name: value for name, value in run.facts.items() if name.startswith("put_back:")}
    unit.note(run.id, "restored", {**data, "put_back": facts, "moved": moved})
    unit.say(run.id, "migration.restored", data | {"moved": moved})
    return unit.change_run(run.id, status=RunStatus.RESTORED, error=None)


def _told(run: Run) -> dict[str, Any]:
    """Return what history and event say of the restore."""
    facts = run.facts
    return {
        "revision": run.revision,
        "direction": "restore",
        "run": run.id,
        "by": run.caller.by,
        "backup": facts["backup"],
        "databases": [target["label"] for target in facts["targets"]],
        "reconciled": facts["reconciles"],
    }


def _reconcile(unit: LedgerUnit, chain: Chain, run: Run) -> dict[str, str]:
    """Walk each revision to where its data is; return revision → status. Runs left half-way are undone with it."""
    reason = f"restored from backup of run {run.facts['backup']}"
    fates = list(run.facts["fates"])
    # Down before up, and down from the newest: at no moment does one stand on another that is not applied.
    down = [fate for fate in fates if fate["becomes"] == Status.ROLLED_BACK.value]
    up = [fate for fate in fates if fate["becomes"] == Status.APPLIED.value]
    for fate in (*reversed(down), *up):
        _walk(unit, run, fate, reason)
    moved = {fate["revision"]: fate["becomes"] for fate in fates}
    for closed in run.facts["closes"]:
        if unit.run(closed).status is RunStatus.FAILED and unit.run(closed).revision in moved:
            unit.change_run(closed, status=RunStatus.ROLLED_BACK)
    return moved


def _walk(unit: LedgerUnit, run: Run, fate: Mapping[str, Any], reason: str) -> None:
    wanted = Status(fate["becomes"])
    now = unit.revisions()[fate["revision"]].status
    for status in _WAYS[wanted].get(now, ()):
        unit.set_status(
            fate["revision"], status, run_id=run.id, reason=reason, applied_run=fate["applied_run"]
        )


def _archive(services: Services, run: Run) -> None:
    """Keep the whole restore as JSON in the vault: it outlives the ledger and Airflow."""
    content = {
        "format": 1,
        "run": asdict(run),
        "backups": [services.vault.uri(manifest.path) for manifest in services.ledger.backups(run.id)],
        "history": [entry for entry in services.ledger.history() if entry.get("run_id") == run.id],
    }
    body = json.dumps(content, indent=2, sort_keys=True, default=str, ensure_ascii=False).encode()
    services.vault.put(f"archive/{run.id}.json", body, "application/json")


def restore_outcome(services: Services, run: Run) -> dict[str, Any]:
    """Return what a restore came to; raise NotAtTarget, with the whole story, where it is not through."""
    run = services.ledger.run(run.id)
    facts = {
        "run": run.id,
        "status": run.status.value,
        "backup": run.facts["backup"],
        "databases": [target["label"] for target in run.facts["targets"]],
        "revisions": {fate["revision"]: fate["becomes"] for fate in run.facts["fates"]},
        "seconds": round((run.ended_at - run.started_at).total_seconds(), 3) if run.ended_at else None,
    }
    if run.status is RunStatus.RESTORED:
        services.log.info(f"the backup of run {run.facts['backup']} is back in place", **facts)
        return facts
    if run.status is RunStatus.OPEN:
        next_step = (
            "Something is overwritten, and not all is back: no other run starts until it is. Mend the cause, then clear "
            f"the failed task, or trigger restore with backup = {run.facts['backup']!r} as before, which carries on. To "
            f"have back what was there, trigger it with backup = {run.id!r}."
        )
    else:
        next_step = "Nothing was changed. Mend the cause, then trigger restore again."
    raise NotAtTarget(
        f"the backup of run {run.facts['backup']} is not back: restore {run.id} is {run.status}.\n"
        f"  why: {run.error or 'no task left a reason; look for the first red task'}\n"
        f"  next: {next_step}",
        **facts,
    )
