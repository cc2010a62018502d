"""What a deploy comes to: yes, no, or nobody could be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lockstep.cli.deploying.looking import Step

YES, NO, UNASKED = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The exit status, and what it is printed with."""

    exit: int
    #: what a person reads last
    lines: tuple[str, ...]
    #: which state the databases are in, in a sentence
    state: str = ""
    target: str | None = None
    environment: str | None = None
    run_id: str | None = None
    url: str | None = None
    steps: tuple[Step, ...] = ()
    error: str | None = None
    #: the task that failed, where it is seen, and the end of its log
    failed: Mapping[str, Any] | None = None
    #: of a dry run
    plan: Any = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return it for a program."""
        return {
            "exit": self.exit,
            "answer": {YES: "yes", NO: "no"}.get(self.exit, "unasked"),
            "state": self.state,
            "target": self.target,
            "environment": self.environment,
            "run_id": self.run_id,
            "url": self.url,
            "revisions": [asdict(step) for step in self.steps],
            "error": self.error,
            "failed_task": None if self.failed is None else dict(self.failed),
            **({} if self.plan is None else {"plan": self.plan}),
            **self.more,
        }


def unasked(why: str) -> Answer:
    """Return the answer where Airflow could not be asked."""
    return Answer(exit=UNASKED, lines=(f"lockstep: {why}",), error=why)
