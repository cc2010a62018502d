"""What is said of a rehearsal to those who wait for its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from lockstep.domain.rehearsal import Rehearsal

#: pending: it goes on · success: green · failure: red · error: it could not be carried through
State = Literal["pending", "success", "failure", "error"]


@dataclass(frozen=True, kw_only=True)
class Announcement:
    """One state of one rehearsal, as every announcer is given it."""

    rehearsal: Rehearsal
    state: State
    #: where a person reads more
    url: str
    #: one sentence
    text: str
    #: when it began, or ended
    at: datetime
    #: what this announcer kept of earlier states, such as an id that the other side gave
    kept: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What an announcer did: in words, and what it needs to know when it says the next state."""

    said: str
    keep: Mapping[str, Any] = field(default_factory=dict)
