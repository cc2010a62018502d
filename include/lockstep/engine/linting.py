"""Lint a revision: Lockstep's own rules over its operations, and squawk's over its SQL."""

from __future__ import annotations

from lockstep.domain.errors import LockstepError
from lockstep.domain.linting.finding import Finding, Severity
from lockstep.domain.linting.ignoring import accepted
from lockstep.domain.linting.rules import findings
from lockstep.domain.operations.base import Statements
from lockstep.domain.revision import Revision
from lockstep.engine import squawk

__all__ = ["Finding", "Severity", "lint"]


def lint(revision: Revision) -> list[Finding]:
    """Return what can be said against a revision from its file, without what the file accepts with a reason.

    Nothing is run and no database is opened. Where squawk is not installed, or does not work, Lockstep's own rules
    alone look at the SQL, and that is said.
    """
    found = findings(revision)
    if not any(isinstance(one, Statements) for one in revision.upgrade + revision.downgrade):
        return accepted(revision, found)
    program = squawk.program()
    if program is None:
        return _without_squawk(revision, found, Severity.INFO, "squawk is not installed.")
    try:
        found += squawk.opinions(revision, program)
    except LockstepError as problem:
        return _without_squawk(revision, found, Severity.WARNING, str(problem))
    return accepted(revision, found)


def _without_squawk(
    revision: Revision, found: list[Finding], severity: Severity, problem: str
) -> list[Finding]:
    """Say that squawk was not asked; what the file accepts of its findings is not called unused then."""
    missing = Finding(
        code="no-squawk",
        severity=severity,
        where=revision.file,
        message=f"squawk's rules on SQL were not asked: {problem}",
        fix="pip install 'lockstep[lint]'.",
    )
    unasked = f"accepts '{squawk.PREFIX}"
    left = accepted(revision, found)
    return [one for one in left if one.code != "unused-ignore" or unasked not in one.message] + [missing]
