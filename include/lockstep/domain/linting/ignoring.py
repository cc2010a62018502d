"""What a revision's file accepts of the findings, with its reasons."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from lockstep.domain.linting.finding import Finding, Severity
from lockstep.domain.revision import Revision

#: the name by which a revision's file says which findings it accepts: code → reason
IGNORE = "lint_ignore"


def accepted(revision: Revision, found: Sequence[Finding]) -> list[Finding]:
    """Leave out what the revision's file accepts, and say where that is written wrongly or in vain."""
    reasons, problems = ignored(revision)
    codes = {finding.code for finding in found}
    vain = [
        Finding(
            code="unused-ignore",
            severity=Severity.WARNING,
            where=revision.file,
            message=f"{IGNORE} accepts {code!r}, which was not found.",
            fix="take it out.",
        )
        for code in reasons
        if code not in codes
    ]
    return [finding for finding in found if finding.code not in reasons] + problems + vain


def ignored(revision: Revision) -> tuple[dict[str, str], list[Finding]]:
    """Return what `lint_ignore` accepts, with the reasons, and what is wrong with it. Read, not run."""
    given: object = {}
    for node in ast.parse(revision.source).body:
        if isinstance(node, ast.Assign) and any(
            getattr(target, "id", "") == IGNORE for target in node.targets
        ):
            try:
                given = ast.literal_eval(node.value)
            except ValueError:
                given = None
    if isinstance(given, Mapping) and all(
        isinstance(part, str) and part.strip() for pair in given.items() for part in pair
    ):
        return dict(given), []
    problem = Finding(
        code="bad-ignore",
        severity=Severity.ERROR,
        where=revision.file,
        message=f"{IGNORE} is not a dict of code to reason, written out.",
        fix=f'write {IGNORE} = {{"blocking-index": "the table has ten rows"}}.',
    )
    return {}, [problem]
