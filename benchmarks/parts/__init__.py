"""The parts of the benchmark, and which of them are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.bench import Bench
from benchmarks.measuring import Part
from benchmarks.parts import (
    backup,
    bookkeeping,
    documents,
    growth,
    objects,
    profile,
    rehearsal,
    rows,
    scheduling,
    verification,
)

#: Letter → part.
LETTERS = {
    "a": "backfill",
    "b": "transform",
    "c": "documents",
    "d": "objects",
    "e": "growth",
    "f": "bookkeeping",
    "g": "scheduling",
    "h": "verification",
    "i": "backup",
    "j": "rewrite",
    "k": "rehearsal",
    "l": "profile",
}
#: These share their references.
TOGETHER = tuple(rows.COMPETITORS)
#: These stand alone, short ones first.
ALONE: dict[str, Callable[[Bench], Part]] = {
    "documents": documents.run,
    "objects": objects.run,
    "backup": backup.run,
    "verification": verification.run,
    "bookkeeping": bookkeeping.run,
    "scheduling": scheduling.run,
    "rehearsal": rehearsal.run,
    "growth": growth.run,
    "profile": profile.run,
}


def chosen(only: str) -> list[str]:
    """Return the parts that a list of letters or names asks for; ValueError names one that is none."""
    found = [LETTERS.get(word, word) for word in only.replace(" ", "").split(",") if word]
    for name in found:
        if name not in LETTERS.values():
            known = ", ".join(f"{letter} {part}" for letter, part in LETTERS.items())
            raise ValueError(f"there is no part {name!r}; there are: {known}")
    return [name for name in LETTERS.values() if name in found or not found]


def steps(wanted: list[str]) -> Iterator[tuple[str, Callable[[Bench], list[Part]]]]:
    """Yield what is to be done for these parts, with a name."""
    shared = [name for name in TOGETHER if name in wanted]
    if shared:
        yield ", ".join(shared), lambda bench: rows.run(bench, shared)
    for name, run in ALONE.items():
        if name in wanted:
            yield name, lambda bench, run=run: [run(bench)]  # type: ignore[misc]
