"""What a downgrade would do now, for the page: asked in the API server, outside of any task."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lockstep.domain.readiness import Readiness


def readiness_now(folder: Path, revisions: Collection[str] | None, environment: str = "") -> list[Readiness]:
    """Return it for the applied revisions of a folder, or of those that are named, in an environment."""
    from lockstep.domain.chain import load_chain
    from lockstep.engine.readiness import readiness
    from lockstep.orchestration.environments import ENVIRONMENT
    from lockstep.orchestration.logs import TaskLog
    from lockstep.orchestration.wiring import services_for

    services = services_for({ENVIRONMENT: environment}, TaskLog())
    services.ledger.check()
    return readiness(services, load_chain(folder), revisions)
