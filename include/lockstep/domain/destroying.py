"""Which SQL takes data away for good: what no journal and no park of Lockstep's keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lockstep.domain.locking import parts_of

_NAME = r"(?P<name>[\w.$]+(?:, ?[\w.$]+)*)"
_TABLE = r"alter table(?: if exists)?(?: only)? (?P<table>[\w.$]+)"
#: Matched against a statement in lower case, with single spaces and without what it quotes.
_DESTROYS = (
    ("DROP TABLE", re.compile(rf"drop table(?: if exists)? {_NAME}")),
    ("DROP SCHEMA", re.compile(rf"drop schema(?: if exists)? {_NAME}")),
    ("DROP COLUMN", re.compile(rf"{_TABLE}\b.*?\bdrop column(?: if exists)? {_NAME}")),
    ("DROP COLUMN", re.compile(rf"{_TABLE} drop (?!constraint\b|column\b){_NAME}")),
    ("TRUNCATE", re.compile(rf"truncate(?: table)?(?: only)? {_NAME}")),
    ("DELETE", re.compile(rf"delete from(?: only)? {_NAME}")),
)


@dataclass(frozen=True, kw_only=True)
class Destroyed:
    """What one statement takes away."""

    #: such as "DROP COLUMN"
    words: str
    #: what it names, as far as that is not quoted: tables, or a column
    names: tuple[str, ...]
    #: the table of a column
    table: str | None = None

    def __str__(self) -> str:
        of = f" of {self.table}" if self.table else ""
        return f"{self.words} {', '.join(self.names)}{of}"


def plain_parts(text: str) -> list[str]:
    """Return the statements of a text in lower case, with single spaces and without what they quote."""
    return [" ".join(part.lower().split()) for part in parts_of(text)]


def destroyed(text: str) -> Iterator[Destroyed]:
    """Return what the statements of a text take away; what a DO block or a function does is not seen."""
    for part in plain_parts(text):
        for words, pattern in _DESTROYS:
            found = pattern.match(part)
            if found:
                names = tuple(name.strip() for name in found["name"].split(","))
                yield Destroyed(words=words, names=names, table=found.groupdict().get("table"))
                break
