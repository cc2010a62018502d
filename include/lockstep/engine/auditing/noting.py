"""What the history says when a run begins and when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lockstep.domain.operations.base import Operation
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.services import Services
from lockstep.engine.steps import total

_PHASES = ("upgrade", "undo", "downgrade")


def note_opened(unit: LedgerUnit, run: Run, **more: Any) -> None:
    """Say that a run is open, what it was asked for, and whose effects it takes back."""
    said = {"status": run.status, "params": run.params, "takes_back": run.source_run, **more}
    unit.note(run.id, "opened", {name: value for name, value in said.items() if value is not None})


def note_ended(services: Services, unit: LedgerUnit, run: Run, revision: Revision | None = None) -> None:
    """Say what a run came to: status, times, records of each operation, what was left, and its backups."""
    seconds = (run.ended_at - run.started_at).total_seconds() if run.ended_at else None
    said: dict[str, Any] = {
        "status": run.status,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "seconds": None if seconds is None else round(seconds, 3),
        "operations": _counts(services, run, revision),
        "quarantined": len(services.ledger.quarantined(run.id)),
        "backups": [services.vault.uri(manifest.path) for manifest in services.ledger.backups(run.id)],
        "error": run.error,
    }
    unit.note(run.id, "ended", {name: value for name, value in said.items() if value not in (None, 0, [])})


def _counts(services: Services, run: Run, revision: Revision | None) -> list[dict[str, Any]]:
    """Return how many records each operation read and wrote, in each phase that it had."""
    found = []
    for phase in _PHASES:
        shards = services.ledger.shards(run.id, phase)
        for step in sorted({shard.step for shard in shards}):
            mine = [shard for shard in shards if shard.step == step]
            sum_ = total(mine)
            found.append(
                {
                    "phase": phase,
                    "step": step,
                    "operation": _title(revision, phase, step),
                    "shards": len(mine),
                    "batches": sum_.batches,
                    "read": sum_.read,
                    "written": sum_.written,
                    "inserted": sum_.inserted,
                }
            )
    return found


def _title(revision: Revision | None, phase: str, step: int) -> str | None:
    if revision is None or not step:
        return None
    operations: Sequence[Operation] = revision.operations("downgrade" if phase == "downgrade" else "upgrade")
    return operations[step - 1].title if step <= len(operations) else None
