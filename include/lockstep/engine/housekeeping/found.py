"""What a concern of housekeeping came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: entries of a list that a task's result holds; the log has all of them
LISTED = 50


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was done, and what a person has to look at."""

    #: one line each; in a dry run what would be done
    done: tuple[str, ...] = ()
    #: one line each, with the next action
    problems: tuple[str, ...] = ()
    #: counts
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __add__(self, other: Found) -> Found:
        return Found(
            done=self.done + other.done,
            problems=self.problems + other.problems,
            facts={**self.facts, **other.facts},
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as a small value: long lists are cut, and say so."""
        return {**self.facts, "done": cut(self.done), "problems": cut(self.problems)}


def cut(lines: tuple[str, ...]) -> list[str]:
    """Return the first of many lines, and how many more there are."""
    more = len(lines) - LISTED
    return [*lines[:LISTED], *([f"and {more} more: see the log"] if more > 0 else [])]


def size_text(size: int | None) -> str:
    """Return bytes as a person reads them."""
    if size is None:
        return "size unknown"
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 1000 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
