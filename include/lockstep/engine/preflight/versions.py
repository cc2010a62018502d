"""Whether servers and client programs are of a version that the plan can work with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lockstep.domain.operations.rewrite_table import RewriteTable
from lockstep.domain.plan import Check, State
from lockstep.domain.resources import Postgres
from lockstep.engine.preflight.place import Place

NAME = "versions"
#: the first PostgreSQL in which a rewritten table can be swapped in with all that hangs on it
REWRITES = 15


def versions(place: Place) -> Iterator[Check]:
    """Yield what is too old; a line where nothing is."""
    told = list(_told(place))
    yield from (place.found(NAME, State.REFUSED, words) for words in told)
    if not told:
        yield place.found(NAME, State.OK, "The server and the programs that back it up fit together.")


def _told(place: Place) -> Iterator[str]:
    yield from place.looker.trouble()
    if not isinstance(place.database, Postgres):
        return
    version = place.looker.facts().get("version", "")
    major = re.match(r"\d+", version)
    rewrites = [op for op in place.operations() if isinstance(op, RewriteTable)]
    if rewrites and major and int(major[0]) < REWRITES:
        yield (
            f"{rewrites[0].title} needs PostgreSQL {REWRITES} or later, and the server is {version}. Use "
            "ops.update_rows there, or upgrade the server."
        )
