"""Rules on what is promised, and on the way back."""

from __future__ import annotations

from collections.abc import Iterator

from lockstep.domain.linting.finding import Finding, Severity, place, warning
from lockstep.domain.operations.base import WayBack
from lockstep.domain.operations.run_python import RunPython
from lockstep.domain.pairing import statements_back
from lockstep.domain.resources import Everything
from lockstep.domain.revision import Revision


def no_verify(revision: Revision) -> Iterator[Finding]:
    if not revision.expectations:
        yield warning(
            "no-verify",
            revision.file,
            "it has no verify(): the run is green whatever the data looks like afterwards.",
            "define verify() and yield what must hold, such as ops.expect_none(…).",
        )


def no_way_back(revision: Revision) -> Iterator[Finding]:
    """Statements of which a failure later in the run could not be undone, and functions that say so."""
    batched = not revision.is_atomic("upgrade")
    every = range(1, len(revision.upgrade) + 1)
    for number, operation in enumerate(revision.upgrade, 1):
        where = place(revision, "upgrade", number)
        if isinstance(operation, RunPython) and operation.way_back is WayBack.NONE:
            yield warning(
                "no-reverse",
                where,
                f"{operation.title} has no reverse: after a failure what it did stays.",
                "give it reverse=, or make it the last operation.",
            )
        opaque = batched and operation.way_back is WayBack.STATEMENT
        if opaque and statements_back(revision, number, set(every)) is None:
            yield Finding(
                code="no-way-back",
                severity=Severity.ERROR,
                where=where,
                message=f"after a failure {operation.title} cannot be taken back: downgrade() has no operation on "
                f"{operation.database.conn_id} for it.",
                fix="mirror it in downgrade(), or give it reverse=.",
            )


def left_behind(revision: Revision) -> Iterator[Finding]:
    """Resources that the way up writes and the way down does not mention."""
    back = {touched for operation in revision.downgrade for touched in operation.writes}
    whole = {touched.database for touched in back if isinstance(touched, Everything)}
    for number, operation in enumerate(revision.upgrade, 1):
        left = [t for t in operation.writes if t not in back and t.database not in whole]
        if left and not isinstance(operation, RunPython):
            yield warning(
                "left-behind",
                place(revision, "upgrade", number),
                f"downgrade() has nothing for {', '.join(map(str, left))}: a downgrade leaves it as the upgrade "
                "made it, and says that it went well.",
                "yield ops.restore(…) or the inverse from downgrade().",
            )
