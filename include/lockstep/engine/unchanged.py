"""A revision's file must not change while its run is in progress."""

from __future__ import annotations

from lockstep.domain.errors import Refused
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run


def refuse_changed(run: Run, revision: Revision) -> None:
    """Raise Refused where the file is not the one that the run began with."""
    if run.checksum != revision.checksum:
        raise Refused(
            f"revision {revision.id!r} ({revision.file}) changed while run {run.id} was in progress: its "
            f"checksum was {run.checksum[:12]} and is {revision.checksum[:12]}. Put the file back as it was "
            "until the run has ended.",
            revision=revision.id,
            run=run.id,
        )
