"""How long a statement may wait for locks: by what its own words say that it takes.

Whoever waits for a strong lock makes everybody else wait who comes after: PostgreSQL's lock queue is in order
of arrival. So such a statement asks often and waits little. One that runs CONCURRENTLY holds nobody up
while it waits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

#: Comments, texts and quoted names: what is inside them says nothing of the statement. Dollar quotes too.
_QUIET = re.compile(
    r"--[^\n]*|/\*.*?\*/|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\""
    r"|(?P<tag>\$\w*\$).*?(?P=tag)",
    re.DOTALL,
)

#: Statements that block neither reads nor writes of the table while they wait, and little while they work.
_CONCURRENT = re.compile(
    r"(create\s+(unique\s+)?index|drop\s+index|reindex|refresh\s+materialized\s+view)\b.*\bconcurrently\b"
    r"|alter\s+table\b.*\bdetach\s+partition\b.*\bconcurrently\b"
    r"|alter\s+table\b[^,]*\bvalidate\s+constraint\s+\S+$"
    r"|vacuum\b(?!.*\bfull\b)|analyze\b",
    re.IGNORECASE | re.DOTALL,
)

#: Statements that wait for rows, or for nothing: the table stays open to others meanwhile.
_PLAIN = re.compile(
    r"(select|insert|update|delete|merge|with|values|table|copy|explain|set|reset|show|comment|grant|revoke)\b",
    re.IGNORECASE,
)


class Locks(Enum):
    """What a statement takes; the value is the seconds that it waits for each lock unless its author says."""

    #: ACCESS EXCLUSIVE or a SHARE kind: others queue behind it
    STRONG = 2.0
    #: a weak lock of the table, and the end of older transactions
    CONCURRENT = 300.0
    #: rows
    PLAIN = 60.0


#: seconds that an operation goes on asking for locks, when the author does not say
PATIENCE = 600.0
#: the same where nobody is held up by it
CONCURRENT_PATIENCE = 3600.0


def locks_of(statement: str) -> Locks:
    """Return what a statement takes, the strongest of its parts; words that are not known are strong."""
    kinds = {_kind(part) for part in parts_of(statement)} or {Locks.PLAIN}
    return min(kinds, key=lambda kind: kind.value)


def lock_timeout_of(statement: str, given: float | None) -> float:
    """Return how many seconds a statement waits for each lock: what the author gave, else by its kind."""
    return locks_of(statement).value if given is None else given


def parts_of(statement: str) -> Iterator[str]:
    """Return the statements of a text, with what is quoted or commented in them left out."""
    return (part for part in map(str.strip, _QUIET.sub(" _ ", statement).split(";")) if part.strip(" _"))


def _kind(part: str) -> Locks:
    part = part.lstrip(" _(\n\t")
    if _CONCURRENT.match(part):
        return Locks.CONCURRENT
    return Locks.PLAIN if _PLAIN.match(part) else Locks.STRONG
