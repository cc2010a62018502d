"""Whether the logins may do what the plan does, as far as that can be read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lockstep.domain.destroying import plain_parts
from lockstep.domain.looking import Need, Wish
from lockstep.domain.operations.base import Operation, Statements
from lockstep.domain.operations.create_collection import CreateCollection
from lockstep.domain.operations.drop_collection import DropCollection
from lockstep.domain.operations.drop_column import DropColumn
from lockstep.domain.operations.drop_table import DropTable
from lockstep.domain.operations.rewrite_table import RewriteTable
from lockstep.domain.operations.run_python import RunPython
from lockstep.domain.operations.set_validator import SetValidator
from lockstep.domain.plan import Check, State
from lockstep.domain.resources import Database
from lockstep.engine.preflight.place import Place, Step

NAME = "permissions"
#: statements that only who owns the table may run
_OWNERS = re.compile(
    r"(alter|drop|truncate) table\b|create (unique )?index\b|drop index\b|reindex\b|cluster\b"
)
_MAKES = re.compile(r"create (?:global |local )?(?:unlogged )?table\b")


def wishes_of(steps: tuple[Step, ...], database: Database) -> tuple[Wish, ...]:
    """Return what steps need of a database, each once: what they do, and what a backup of it reads."""
    found: dict[Wish, None] = {}
    for revision, direction in steps:
        for touched in revision.touched:
            if touched.database == database:
                found[Wish("read", touched)] = None
        for operation in revision.operations(direction):
            for touched in operation.writes:
                if touched.database == database:
                    found |= dict.fromkeys(
                        Wish(need, touched, certain) for need, certain in _needs(operation)
                    )
    return tuple(found)


def _needs(operation: Operation) -> Iterator[tuple[Need, bool]]:
    """Yield what an operation needs of what it writes, and whether it fails for certain without."""
    if isinstance(operation, Statements):
        parts = [part for text in operation.statements for part in plain_parts(text)]
        if any(map(_MAKES.match, parts)):
            yield "create", True
        if any(map(_OWNERS.match, parts)):
            yield "own", len(operation.touches or ()) == 1
        return
    if isinstance(operation, RunPython):
        return  # a function of the revision's own: nobody sees from here what it does
    if isinstance(operation, CreateCollection):
        yield "create", True
    elif isinstance(operation, (DropTable, DropColumn, RewriteTable, DropCollection, SetValidator)):
        yield "own", True
    else:
        yield "write", True


def permissions(place: Place) -> Iterator[Check]:
    """Yield what is missing; a line where nothing is."""
    certain = {_named(wish) for wish in place.wishes if wish.certain}
    missing = unknown = 0
    for right in place.looker.rights(place.wishes):
        if right.granted:
            continue
        if right.granted is None:
            unknown += 1
            yield place.found(NAME, State.OK, f"Not looked at: {right.what}; {right.words}.")
            continue
        missing += 1
        fatal = right.what in certain or not right.what.startswith("own ")
        yield place.found(
            NAME,
            State.REFUSED if fatal else State.WARNING,
            f"The login may not {right.what}. {_sentence(right.words)}",
        )
    if not missing and not unknown:
        yield place.found(NAME, State.OK, "The login may do what the plan's operations say they do.")


def _named(wish: Wish) -> str:
    return f"{wish.need} {wish.touched.database.kind} {wish.touched.slug}"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
