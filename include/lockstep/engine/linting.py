"""Lint a revision: Lockstep's own rules over its operations, and squawk's over its SQL."""

from __future__ import annotations

from lockstep.domain.linting.finding import Finding, Severity
from lockstep.domain.linting.ignoring import accepted
from lockstep.domain.linting.rules import findings
from lockstep.domain.operations.base import Statements
from lockstep.domain.revision import Revision
from lockstep.engine import squawk

__all__ = ["Finding", "Severity", "lint"]


def lint(revision: Revision) -> list[Finding]:
    """Return what can be said against a revision from its file, without what the file accepts with a reason.

    Nothing is run and no database is opened. Without squawk its SQL is looked at by Lockstep's own rules alone,
    and that is said. LockstepError where squawk is there and does not work.
    """
    found = findings(revision)
    has_sql = any(isinstance(one, Statements) for one in revision.upgrade + revision.downgrade)
    program = squawk.program() if has_sql else None
    if program is not None:
        found += squawk.opinions(revision, program)
    left = accepted(revision, found)
    if not has_sql or program is not None:
        return left
    missing = Finding(
        code="no-squawk",
        severity=Severity.INFO,
        where=revision.file,
        message="squawk is not installed, so that its rules on SQL were not asked.",
        fix="pip install 'lockstep[lint]'.",
    )
    unasked = f"accepts '{squawk.PREFIX}"
    return [one for one in left if one.code != "unused-ignore" or unasked not in one.message] + [missing]
