"""The history: what is left goes into the archive, and ledger and archive are checked against each other."""

from __future__ import annotations

from lockstep.engine.auditing.archiving import archive_history
from lockstep.engine.auditing.verifying import verify
from lockstep.engine.housekeeping.found import Found
from lockstep.engine.services import Services


def audit_history(services: Services, *, dry_run: bool = False) -> Found:
    """Archive what no run's end has archived, then verify; in a dry run, verify. A broken link is a problem."""
    went = 0 if dry_run else archive_history(services)
    audit = verify(services.ledger, services.vault)
    problems = tuple(
        f"the history does not hold. {finding}. Keep both copies as they are, run `lockstep audit verify`, and find out "
        "who could write there (docs/audit.md)."
        for finding in audit.findings
    )
    for problem in problems:
        services.log.error(problem)
    entries = audit.head.id if audit.head else 0
    done = (f"archived {went} entries of the history",) if went else ()
    if audit.holds:
        services.log.info(f"the history holds: {entries} entries, {audit.objects} object(s) in the vault")
    return Found(done=done, problems=problems, facts={"entries": entries, "objects": audit.objects})
