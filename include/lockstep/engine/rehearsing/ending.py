"""End a rehearsal: predict, write the report, and give the verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lockstep.domain.rehearsal import Prediction, Rehearsal, Verdict
from lockstep.engine.rehearsing.forecast import forecast
from lockstep.engine.rehearsing.opening import Plan
from lockstep.engine.rehearsing.page import page
from lockstep.engine.rehearsing.report import HTML_NAME, JSON_NAME, as_bytes, head, report_of
from lockstep.engine.rehearsing.stage import Backstage
from lockstep.engine.rehearsing.trying import Measured
from lockstep.engine.services import Services


def write_report(services: Services, backstage: Backstage, plan: Plan, measured: Measured) -> dict[str, Any]:
    """Write the report of what was measured to the vault, and return it; the verdict is not given yet."""
    predicted = {
        tried.revision.id: found
        for tried in measured.tried
        if (found := forecast(tried, measured.copies, services.settings, backstage)) is not None
    }
    report = report_of(plan, measured, predicted, lint_findings(plan))
    _keep(services, plan.rehearsal, report)
    return report


def end_rehearsal(
    services: Services, rehearsal: Rehearsal, *, why_stopped: str | None = None
) -> tuple[Rehearsal, dict[str, Any]]:
    """Give the verdict that the report has, and keep its predictions; return both.

    Without a report the rehearsal could not be carried through: it is stopped, for the reason given, and one
    that says so is written.
    """
    path = f"{rehearsal.folder}/{JSON_NAME}"
    if not services.vault.exists(path):
        report = head(
            rehearsal, Verdict.STOPPED, why_stopped or "a task failed before anything could be said"
        )
        _keep(services, rehearsal, report)
    body = services.vault.get(path)
    report = report_from(body)
    predicted = {
        one["id"]: Prediction(**one["predicted"])
        for one in report.get("revisions", ())
        if one.get("predicted")
    }
    verdict = Verdict(report["verdict"])
    ended = services.ledger.change_rehearsal(
        rehearsal.id,
        verdict=verdict,
        predicted=predicted,
        report_path=path,
        report_sha256=hashlib.sha256(body).hexdigest(),
        facts={"why": report["why"]},
    )
    say = services.log.info if verdict is Verdict.GREEN else services.log.error
    say(f"rehearsal {rehearsal.id} is {verdict}{': ' if report['why'] else ''}{report['why']}")
    for revision, found in predicted.items():
        services.log.info(
            f"revision {revision} should take about {found.seconds:.1f} s on the live data "
            f"({found.low:.1f} to {found.high:.1f} s)"
        )
    return ended, report


def report_from(body: bytes) -> dict[str, Any]:
    """Return the report that its JSON text says."""
    found: dict[str, Any] = json.loads(body)
    return found


def lint_findings(plan: Plan) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Return what is to be said of the revisions without running them."""
    from lockstep.engine.linting import lint

    return {revision.id: [asdict(found) for found in lint(revision)] for revision in plan.revisions}


def _keep(services: Services, rehearsal: Rehearsal, report: Mapping[str, Any]) -> None:
    services.vault.put(f"{rehearsal.folder}/{JSON_NAME}", as_bytes(report), "application/json")
    services.vault.put(f"{rehearsal.folder}/{HTML_NAME}", page(report).encode(), "text/html; charset=utf-8")
