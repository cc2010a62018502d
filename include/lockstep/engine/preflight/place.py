"""One database of a plan, and what the checks are told of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lockstep.domain.looking import Wish
from lockstep.domain.operations.base import Operation
from lockstep.domain.plan import Check, State
from lockstep.domain.resources import Database
from lockstep.domain.revision import Direction, Revision
from lockstep.engine.ports.lookers import Looker

#: a revision of the plan, and which way it goes
Step = tuple[Revision, Direction]


@dataclass(frozen=True, kw_only=True)
class Place:
    database: Database
    looker: Looker
    #: what the steps need of it
    wishes: tuple[Wish, ...]
    steps: tuple[Step, ...]

    @property
    def name(self) -> str:
        return self.database.conn_id

    def operations(self) -> Iterator[Operation]:
        """Yield the operations that work here, in either direction: a failed step is taken back."""
        for revision, _ in self.steps:
            for operation in revision.upgrade + revision.downgrade:
                if operation.database == self.database:
                    yield operation

    def found(self, check: str, state: State, words: str) -> Check:
        return Check(check=check, place=self.name, state=state, words=words)
