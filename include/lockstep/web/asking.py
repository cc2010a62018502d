"""Who asks, and how the ledger's refusals are answered over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException

from lockstep.domain.errors import LockstepError
from lockstep.domain.run import Run


@dataclass(frozen=True, kw_only=True)
class Asker:
    """A person or a service that is logged in."""

    name: str
    #: whether they may read the runs of a DAG
    may_read: Callable[[str], bool]
    #: whether they may start runs of it, and so may pause and resume them
    may_start: Callable[[str], bool]


def answered(question: Callable[[], Any], refused: int = 404) -> Any:
    """Return an answer of the ledger, or the HTTP error that its refusal means."""
    try:
        return question()
    except LockstepError as problem:
        raise HTTPException(503 if problem.transient else refused, str(problem)) from problem


def readable(run: Run, asker: Asker) -> Run:
    """Return the run if the asker may read it."""
    if not asker.may_read(run.caller.dag_id):
        raise HTTPException(403, f"you may not read the runs of {run.caller.dag_id}")
    return run


def steerable(run: Run, asker: Asker) -> Run:
    """Return the run if the asker may pause and resume it."""
    if not asker.may_start(run.caller.dag_id):
        raise HTTPException(
            403, f"you may not start runs of {run.caller.dag_id}, nor pause or resume them: ask who may"
        )
    return run
