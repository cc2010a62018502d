"""About how much there is of what a plan touches: one look at each database."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from lockstep.domain.errors import LockstepError
from lockstep.domain.looking import Size
from lockstep.domain.resources import Database, Touched
from lockstep.engine.ports.lookers import Looker
from lockstep.engine.services import Log

#: opens what looks at a database
Look = Callable[[Database], Looker]


class Sizes:
    """Sizes of resources; unknown where a database does not say."""

    def __init__(self, look: Look, log: Log, touched: Iterable[Touched]) -> None:
        self._known: dict[Touched, Size] = {}
        by_database: dict[Database, list[Touched]] = {}
        for one in dict.fromkeys(touched):
            by_database.setdefault(one.database, []).append(one)
        for database, listed in by_database.items():
            try:
                told = look(database).sizes(listed)
            except LockstepError as problem:
                log.warning(f"how much there is in {database.conn_id} is not known: {problem}")
                continue
            self._known |= {one: told[one.slug] for one in listed if one.slug in told}

    def of(self, touched: Touched) -> Size:
        return self._known.get(touched, Size())

    def total(self, touched: Sequence[Touched]) -> Size:
        """Return what resources come to together, each once."""
        return sum(map(self.of, dict.fromkeys(touched)), Size(records=0, bytes=0))
