"""Record what a run came to: status, history and event in one transaction, then the archive."""

from __future__ import annotations

import json
import traceback
from dataclasses import asdict
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine import metering
from lockstep.engine.auditing.archiving import archive_history
from lockstep.engine.auditing.noting import note_ended
from lockstep.engine.counting import note_after
from lockstep.engine.housekeeping.run_end import look_around
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.quarantine import tries_again, waiting
from lockstep.engine.rehearsing.comparing import compare_with_prediction
from lockstep.engine.services import Services
from lockstep.engine.steps import total


def record(services: Services, revision: Revision, run: Run) -> Run:
    """Give the run its final status; recorded before, return it as it is."""
    standing = services.ledger.run(run.id)
    if standing.status is RunStatus.OPEN and standing.backed_up:
        note_after(services, revision, standing)
    with services.ledger.unit() as unit:
        current = unit.run(run.id)
        if current.status is RunStatus.OPEN:
            current = _close(services, unit, revision, current)
            note_ended(services, unit, current, revision)
    if standing.status is RunStatus.OPEN:
        metering.ended(services, current)
    services.log.info(f"run {current.id} is {current.status}", error=current.error)
    _archive(services, revision, current)
    archive_history(services)
    look_around(services, revision.databases, current)
    compare_with_prediction(services, revision, current)
    return current


def _close(services: Services, unit: LedgerUnit, revision: Revision, run: Run) -> Run:
    facts, error = run.facts, run.error
    data = {
        "revision": revision.id,
        "description": revision.description,
        "direction": run.direction,
        "run": run.id,
        "by": run.caller.by,
        "records": records_of(services, run),
    }
    if not run.backed_up:
        unit.say(run.id, "migration.failed", data | {"error": error, "changed": False})
        return _ended(unit, run, RunStatus.STOPPED)
    if run.direction == "upgrade" and facts.get("verified"):
        return _applied(services, unit, revision, run, data)
    if facts.get("restored"):
        asked = run.direction == "downgrade"
        if tries_again(run):
            unit.set_status(revision.id, Status.APPLIED, run_id=run.id)
            unit.say(run.id, "migration.failed", data | {"error": error, "changed": False})
            return _ended(unit, run, RunStatus.ROLLED_BACK)
        unit.set_status(revision.id, Status.ROLLED_BACK, run_id=run.id, error=None if asked else error)
        undone = "its backups are put back" if facts.get("put_back") else "what it did is undone"
        cause = "asked for" if asked else f"the upgrade failed, and {undone}"
        unit.say(run.id, "migration.rolled_back", data | {"cause": cause, "error": error})
        return _ended(unit, run, RunStatus.DOWNGRADED if asked else RunStatus.ROLLED_BACK)
    if unit.revisions()[revision.id].status is not Status.FAILED:
        unit.set_status(revision.id, Status.FAILED, run_id=run.id, error=error or "the run did not end well")
    unit.say(run.id, "migration.failed", data | {"error": error, "changed": True})
    return _ended(unit, run, RunStatus.FAILED)


def _applied(services: Services, unit: LedgerUnit, revision: Revision, run: Run, data: dict[str, Any]) -> Run:
    """Record that the revision is applied, and which records it left as they were."""
    left = services.ledger.quarantined(run.id)
    unit.set_status(revision.id, Status.APPLIED, run_id=run.id)
    if tries_again(run):
        for tried in {one.run_id for one in waiting(services, run.source_run)} - {run.id}:
            unit.resolve(tried, run.id)
    unit.say(run.id, "migration.applied", data | ({"quarantined": len(left)} if left else {}))
    if not left:
        return _ended(unit, run, RunStatus.APPLIED)
    listed = [{"resource": f"{one.conn_id} {one.resource}", "key": one.record.shown} for one in left[:100]]
    unit.note(run.id, "quarantined", {"records": len(left), "records_left": listed})
    unit.say(run.id, "migration.quarantined", data | {"quarantined": len(left), "records_left": listed})
    return _ended(unit, run, RunStatus.APPLIED_WITH_QUARANTINE)


def _ended(unit: LedgerUnit, run: Run, status: RunStatus) -> Run:
    return unit.change_run(run.id, status=status)


def records_of(services: Services, run: Run) -> int:
    """Return the records that the run's own direction wrote."""
    phase = "upgrade" if run.direction == "upgrade" else "downgrade"
    return total(services.ledger.shards(run.id, phase)).written


def note_failure(services: Services, run_id: str, where: str, error: BaseException) -> None:
    """Keep the first error of a run, best effort: the ledger itself may be what failed."""
    text = str(error) if isinstance(error, LockstepError) else f"{type(error).__name__}: {error}"
    try:
        with services.ledger.unit() as unit:
            run = unit.run(run_id)
            if run.status is not RunStatus.OPEN:
                return
            unit.note(
                run_id,
                "task_failed",
                {
                    "where": where,
                    "error": text,
                    "traceback": "".join(traceback.format_exception(error))[-8000:],
                },
            )
            if run.error is None:
                unit.change_run(run_id, error=f"{where}: {text}")
    except LockstepError as problem:
        services.log.error(f"the ledger could not be told of this failure: {problem}")


def _archive(services: Services, revision: Revision, run: Run) -> None:
    """Keep the whole run as JSON in the vault: it outlives the ledger and Airflow."""
    content: dict[str, Any] = {
        "format": 1,
        "run": asdict(run),
        "revision": {
            "id": revision.id,
            "file": revision.file,
            "checksum": revision.checksum,
            "source": revision.source,
        },
        "shards": [asdict(shard) for shard in services.ledger.shards(run.id)],
        "quarantined": [asdict(one) for one in services.ledger.quarantined(run.id)],
        "backups": [services.vault.uri(manifest.path) for manifest in services.ledger.backups(run.id)],
        "history": [entry for entry in services.ledger.history(revision.id) if entry.get("run_id") == run.id],
    }
    body = json.dumps(content, indent=2, sort_keys=True, default=str, ensure_ascii=False).encode()
    services.vault.put(f"archive/{run.id}.json", body, "application/json")
