"""What Lockstep's pages read, for each environment: asked in the API server, outside of any task."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.orchestration import wiring
from lockstep.orchestration.environments import default_environment, environments
from lockstep.orchestration.planning import plan_now
from lockstep.orchestration.readiness import readiness_now

if TYPE_CHECKING:
    from lockstep.domain.environment import Environment
    from lockstep.web.read import Reader


def readers(folder: Path) -> tuple[Reader, dict[str, Reader]]:
    """Return the default environment's reader, and where there are several environments each one's, by name."""
    declared = {one.name: reader_of(one, folder) for one in environments()}
    usual = declared[default_environment().name]
    return usual, declared if len(declared) > 1 else {}


def reader_of(environment: Environment, folder: Path) -> Reader:
    """Return what reads one environment's ledger and vault."""
    from lockstep.web.read import Reader

    return Reader(
        ledger=partial(wiring.ledger, environment),
        uri=lambda path: wiring.vault(environment).uri(path),
        kept=lambda path: wiring.vault(environment).get(path),
        ready=lambda revisions: readiness_now(folder, revisions, environment.name),
        plan=lambda target, direction: plan_now(folder, target, direction, environment.name),
    )
