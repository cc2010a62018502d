"""What the DAGs that care for the ledger's state have in common: a run of their own, and verify() asked of live data."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from lockstep.domain.errors import LockstepError, Refused
from lockstep.domain.revision import Revision
from lockstep.domain.run import Caller, Run, Way
from lockstep.domain.status import RunStatus
from lockstep.engine.expectations import check
from lockstep.engine.services import Services


def decided(
    revision: str,
    way: Way,
    status: RunStatus,
    *,
    checksum: str,
    caller: Caller,
    params: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> Run:
    """Return a run that is over as soon as it is recorded: a person's word about a revision."""
    now = datetime.now(timezone.utc)
    return Run(
        id=f"{revision}-{way}-{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        revision=revision,
        direction=way,
        status=status,
        caller=caller,
        checksum=checksum,
        started_at=now,
        params=dict(params),
        facts=dict(facts),
    )


def decided_before(services: Services, caller: Caller, status: RunStatus) -> list[Run]:
    """Return what this Airflow run has recorded already, oldest first: a task may be tried again after a kill."""
    return [
        run
        for run in reversed(services.ledger.runs(limit=1000))
        if (run.caller.dag_id, run.caller.dag_run_id) == (caller.dag_id, caller.dag_run_id)
        and run.status is status
        and run.direction in ("baseline", "repair", "accept")
    ]


def given_reason(reason: str) -> str:
    """Return the reason; Refused where there is none, since whoever reads the history later asks for it."""
    if not reason.strip():
        raise Refused("no reason is given. Say why, in words that somebody understands a year from now.")
    return reason.strip()


def keep(services: Services, revision: Revision, run: Run) -> None:
    """Keep the decision as JSON in the vault, with the revision's file as it is now: it outlives the ledger."""
    content = {
        "format": 1,
        "run": asdict(run),
        "revision": {
            "id": revision.id,
            "file": revision.file,
            "checksum": revision.checksum,
            "source": revision.source,
        },
        "history": [entry for entry in services.ledger.history(revision.id) if entry.get("run_id") == run.id],
    }
    body = json.dumps(content, indent=2, sort_keys=True, default=str, ensure_ascii=False).encode()
    services.vault.put(f"archive/{run.id}.json", body, "application/json")


def not_held(services: Services, revision: Revision) -> list[str]:
    """Return which of the revision's expectations do not hold on the live data, and why; they are only read.

    One that cannot be asked, such as of a table that is not there, does not hold. Raises Unavailable.
    """
    wrong = []
    with services.log.group(f"what verify() of revision {revision.id} expects"):
        for expectation in revision.expectations:
            problem = _asked(services, expectation)
            if problem is None:
                services.log.info(f"holds: {expectation.describe()}")
            else:
                services.log.warning(f"does not hold: {expectation.describe()}, but {problem}")
                wrong.append(f"{expectation.describe()}, but {problem}")
        if not revision.expectations:
            services.log.warning(
                "verify() declares nothing: nobody can tell from the data whether it is applied"
            )
    return wrong


def _asked(services: Services, expectation: Any) -> str | None:
    try:
        return check(services, expectation)
    except LockstepError as problem:
        if problem.transient:
            raise
        return f"it cannot be asked: {problem}"


def told(lines: Sequence[str]) -> str:
    return "; ".join(lines)
