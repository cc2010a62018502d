"""The report of a rehearsal as plain values: what the JSON says and the page shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lockstep.domain.rehearsal import HeldLock, Prediction, Rehearsal, Verdict
from lockstep.engine.rehearsing.driving import Operated, Trial
from lockstep.engine.rehearsing.opening import Plan
from lockstep.engine.rehearsing.trying import Measured, Tried

FORMAT = 1
#: the report's names below a rehearsal's folder
JSON_NAME = "report.json"
HTML_NAME = "report.html"
#: modes that keep an application out while they are held
_STRONG = ("readers and writers", "writers")


def report_of(
    plan: Plan,
    measured: Measured,
    predicted: Mapping[str, Prediction],
    findings: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Return all that there is to say; numbers are seconds and bytes."""
    return {
        **head(plan.rehearsal, measured.verdict, measured.why),
        "source": plan.asked.source,
        "sample": plan.asked.sample,
        "seconds": dict(measured.seconds),
        "copies": [copied.as_json() for copied in measured.copies],
        "longest_lock": _longest(measured.tried),
        "revisions": [
            _revision(one, predicted.get(one.revision.id), findings.get(one.revision.id, ()))
            for one in measured.tried
        ],
        "not_reached": [
            revision.id
            for revision in plan.revisions
            if revision.id not in {t.revision.id for t in measured.tried}
        ],
    }


def head(rehearsal: Rehearsal, verdict: Verdict, why: str) -> dict[str, Any]:
    """Return what every report begins with, also one of a rehearsal that could not be carried through."""
    return {
        "format": FORMAT,
        "rehearsal": rehearsal.id,
        "target": rehearsal.target,
        "verdict": verdict.value,
        "why": why,
        "started_at": rehearsal.started_at.isoformat(),
        "asked_by": rehearsal.caller.by,
        "dag_run": f"{rehearsal.caller.dag_id}/{rehearsal.caller.dag_run_id}",
        "checksums": dict(rehearsal.revisions),
    }


def as_bytes(report: Mapping[str, Any]) -> bytes:
    """Return the report's JSON text."""
    return json.dumps(report, indent=1, ensure_ascii=False, default=str).encode()


def _revision(
    tried: Tried, predicted: Prediction | None, findings: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    revision = tried.revision
    return {
        "id": revision.id,
        "description": revision.description,
        "file": revision.file,
        "checksum": revision.checksum,
        "transaction": revision.transaction,
        "storage": revision.storage_type,
        "predicted": asdict(predicted) if predicted else None,
        "upgrade": _trial(tried.up),
        "downgrade": _trial(tried.down),
        "upgrade_again": _trial(tried.again),
        "compared": tried.compared,
        "differences": [asdict(one) for one in tried.differences],
        "growth": tried.growth,
        "lint": [dict(one) for one in findings],
    }


def _trial(trial: Trial | None) -> dict[str, Any] | None:
    if trial is None:
        return None
    return {
        "status": trial.run.status.value,
        "good": trial.good,
        "seconds": round(trial.seconds, 3),
        "tasks": [{"name": task.name, "seconds": round(task.seconds, 4)} for task in trial.tasks],
        "operations": [_operation(one) for one in trial.operations],
        "locks": [asdict(lock) for lock in trial.locks],
        "records": sum(one.written for one in trial.operations),
        "verification": [line for task in trial.tasks for line in task.said],
        "trouble": asdict(trial.trouble) if trial.trouble else None,
        "undone": trial.undone,
    }


def _operation(one: Operated) -> dict[str, Any]:
    return {
        "step": one.step,
        "title": one.title,
        "describe": one.describe,
        "seconds": round(one.seconds, 4),
        "read": one.read,
        "written": one.written,
        "quarantined": one.quarantined,
        "shards": one.shards,
        "batches": one.batches,
        "locks": [asdict(lock) for lock in one.locks],
        "samples": one.samples,
    }


def _longest(tried: Sequence[Tried]) -> dict[str, Any] | None:
    """Return the lock that kept readers or writers out for longest; of any other kind where there was none."""
    seen: list[tuple[str, HeldLock]] = [
        (one.revision.id, lock)
        for one in tried
        for trial in (one.up, one.down, one.again)
        if trial is not None
        for lock in (*trial.locks, *(lock for op in trial.operations for lock in op.locks))
    ]
    strong = [(revision, lock) for revision, lock in seen if lock.keeps_out in _STRONG]
    if not (strong or seen):
        return None
    revision, lock = max(strong or seen, key=lambda pair: pair[1].seconds)
    return {"revision": revision, **asdict(lock)}
