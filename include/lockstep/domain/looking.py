"""What can be seen of a database without writing to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lockstep.domain.resources import Touched

#: read: to back it up and to verify it · write: its records · own: its definition · create: something new beside it
Need = Literal["read", "write", "own", "create"]


@dataclass(frozen=True, kw_only=True)
class Size:
    """About how much there is of a resource, from what its server says anyway."""

    #: None where the server does not know
    records: int | None = None
    #: whether it is at least so many, since nobody looked further
    least: bool = False
    bytes: int | None = None

    def __add__(self, other: Size) -> Size:
        return Size(
            records=None if self.records is None or other.records is None else self.records + other.records,
            least=self.least or other.least,
            bytes=None if self.bytes is None or other.bytes is None else self.bytes + other.bytes,
        )


#: what is not there
NOTHING = Size(records=0, bytes=0)


@dataclass(frozen=True, kw_only=True)
class Right:
    """Something that a login must be allowed to do, and whether it is."""

    #: such as "write table users"
    what: str
    #: None where it cannot be told without writing
    granted: bool | None
    #: how it is granted, or why nobody can tell
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Bytes on a server; None where it does not say."""

    used: int | None = None
    free: int | None = None


@dataclass(frozen=True)
class Wish:
    """What a plan needs of a resource."""

    need: Need
    touched: Touched
    #: whether the plan fails without it; otherwise that only may be
    certain: bool = True
